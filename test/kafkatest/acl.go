package kafkatest

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// WithACLs makes the brokers ask for permissions: a user that logs in may do what [Cluster.Grant] says, and nothing
// else. This package's own requests, which do not log in, may do everything.
func WithACLs() Option { return func(o *Options) { o.ACLs = true } }

// authorizer is the class of brokers of a version that looks at permissions.
func authorizer(version string) string {
	switch {
	case strings.HasPrefix(version, "2.8"):
		return "kafka.security.authorizer.AclAuthorizer"
	case needsZooKeeper(version):
		return "kafka.security.auth.SimpleAclAuthorizer"
	}
	return "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
}

// Grant allows a user operations on a topic; an empty topic stands for the cluster.
func (c *Cluster) Grant(user, topic string, operations ...kmsg.ACLOperation) error {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, operation := range operations {
		acl := kmsg.NewCreateACLsRequestCreation()
		acl.ResourceType, acl.ResourceName = resource(topic)
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

// Revoke takes back what [Cluster.Grant] has allowed.
func (c *Cluster) Revoke(user, topic string, operations ...kmsg.ACLOperation) error {
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, operation := range operations {
		kind, name := resource(topic)
		principal, host := "User:"+user, "*"
		f := kmsg.NewDeleteACLsRequestFilter()
		f.ResourceType, f.ResourceName, f.ResourcePatternType = kind, &name, kmsg.ACLResourcePatternTypeLiteral
		f.Principal, f.Host, f.Operation, f.PermissionType = &principal, &host, operation, kmsg.ACLPermissionTypeAllow
		req.Filters = append(req.Filters, f)
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
				return fmt.Errorf("take back permissions of %q on %q: %w", user, topic, err)
			}
			if n := len(r.MatchingACLs); n != 1 {
				return fmt.Errorf("take back permissions of %q on %q: %d found, want 1", user, topic, n)
			}
		}
		return nil
	})
}

// resource is a topic as permissions name it; "" stands for the cluster.
func resource(topic string) (kmsg.ACLResourceType, string) {
	if topic == "" {
		return kmsg.ACLResourceTypeCluster, "kafka-cluster"
	}
	return kmsg.ACLResourceTypeTopic, topic
}
