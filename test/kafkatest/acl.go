package kafkatest

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// WithACLs makes the brokers ask for permissions: a user that logs in may do what [Cluster.Grant] says, and nothing
// else. This package's own requests, which do not log in, may do everything.
func WithACLs() Option {
	return func(o *Options) {
		WithProperty("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")(o)
		WithProperty("super.users", "User:ANONYMOUS")(o)
	}
}

// Grant allows a user operations on a topic; an empty topic stands for the cluster.
func (c *Cluster) Grant(user, topic string, operations ...kmsg.ACLOperation) error {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, operation := range operations {
		acl := kmsg.NewCreateACLsRequestCreation()
		acl.ResourceType, acl.ResourceName = kmsg.ACLResourceTypeTopic, topic
		if topic == "" {
			acl.ResourceType, acl.ResourceName = kmsg.ACLResourceTypeCluster, "kafka-cluster"
		}
		acl.ResourcePatternType = kmsg.ACLResourcePatternTypeLiteral
		acl.Principal, acl.Host = "User:"+user, "*"
		acl.Operation, acl.PermissionType = operation, kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, acl)
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return with(c.direct(), func(cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		for _, r := range resp.Results {
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				return fmt.Errorf("permissions of %q on %q: %w", user, topic, err)
			}
		}
		return nil
	})
}
