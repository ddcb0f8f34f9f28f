package kafkatest

import (
	"cmp"
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
	return c.permit(user, topic, func(ctx context.Context, cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		for _, r := range resp.Results {
			err = cmp.Or(err, kerr.ErrorForCode(r.ErrorCode))
		}
		return err
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
	return c.permit(user, topic, func(ctx context.Context, cl *kgo.Client) error {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil {
			return err
		}
		for _, r := range resp.Results {
			if err = cmp.Or(err, kerr.ErrorForCode(r.ErrorCode)); err == nil && len(r.MatchingACLs) != 1 {
				err = fmt.Errorf("%d found to take back, want 1", len(r.MatchingACLs))
			}
		}
		return err
	})
}

// permit sends a request about what a user may do on a topic, past every login.
func (c *Cluster) permit(user, topic string, send func(context.Context, *kgo.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := with(c.direct(), func(cl *kgo.Client) error { return send(ctx, cl) }); err != nil {
		return fmt.Errorf("permissions of %q on %q: %w", user, topic, err)
	}
	return nil
}

// resource is a topic as permissions name it; "" stands for the cluster.
func resource(topic string) (kmsg.ACLResourceType, string) {
	if topic == "" {
		return kmsg.ACLResourceTypeCluster, "kafka-cluster"
	}
	return kmsg.ACLResourceTypeTopic, topic
}
