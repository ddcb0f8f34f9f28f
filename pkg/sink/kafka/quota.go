package kafka

import (
	"context"
	"errors"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/describeclientquotas"

	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
)

// ProbedQuotas are the limits that a cluster has configured for this client. Each broker applies them by itself.
type ProbedQuotas struct {
	Err error // why they are not known
	// UserUnknown: the user is not known here because the cluster derives it, from a certificate for example. Only
	// limits for default users and for client ids were looked at.
	UserUnknown bool
	ByteRate    ProbedQuota // producer_byte_rate, in bytes a second
	RequestTime ProbedQuota // request_percentage, of one of the broker's threads
}

// ProbedQuota is one limit.
type ProbedQuota struct {
	Limit float64
	Of    string // whom it is configured for; "": there is no limit
}

// ErrQuotasUntold is the error of brokers that cannot be asked for quotas.
var ErrQuotasUntold = errors.New("the brokers are older than 2.6, or not Apache Kafka, and do not tell")

// anonymous is the name that Kafka gives to users who did not log in.
const anonymous = "ANONYMOUS"

// How an entity is matched (KIP-546).
const (
	matchExact   = 0
	matchDefault = 1
)

// quotas asks for the limits of a user and a client id; user "" is one that the cluster derives. The order is that in
// which brokers look for a limit; the first one that is configured is in force (org.apache.kafka.server.quota,
// "Quota configuration" in Kafka's documentation).
func (c *client) quotas(ctx context.Context, user, clientID string) (found ProbedQuotas) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	found.UserUnknown = user == ""
	type component = describeclientquotas.Component
	someone := component{EntityType: "user", MatchType: matchExact, Match: user}
	anyone := component{EntityType: "user", MatchType: matchDefault}
	client := component{EntityType: "client-id", MatchType: matchExact, Match: clientID}
	anyClient := component{EntityType: "client-id", MatchType: matchDefault}
	for _, q := range []struct {
		of       string
		entities []component
	}{
		{"user " + user + " with client id " + clientID, []component{someone, client}},
		{"user " + user + " with the default client id", []component{someone, anyClient}},
		{"user " + user, []component{someone}},
		{"the default user with client id " + clientID, []component{anyone, client}},
		{"the default user with the default client id", []component{anyone, anyClient}},
		{"the default user", []component{anyone}},
		{"client id " + clientID, []component{client}},
		{"the default client id", []component{anyClient}},
	} {
		if user == "" && q.entities[0] == someone {
			continue
		}
		r, err := request[*describeclientquotas.Response](ctx, c, Peer{Broker: AnyBroker}, &describeclientquotas.Request{Components: q.entities, Strict: true})
		if err == nil && r.ErrorCode != 0 {
			err = kafkago.Error(r.ErrorCode)
		}
		if err != nil {
			if errors.Is(err, wire.ErrUnknownRequest) {
				err = ErrQuotasUntold
			}
			return ProbedQuotas{Err: err}
		}
		for _, e := range r.Entries {
			for _, v := range e.Values {
				switch {
				case v.Key == "producer_byte_rate" && found.ByteRate.Of == "":
					found.ByteRate = ProbedQuota{v.Value, q.of}
				case v.Key == "request_percentage" && found.RequestTime.Of == "":
					found.RequestTime = ProbedQuota{v.Value, q.of}
				}
			}
		}
		if found.ByteRate.Of != "" && found.RequestTime.Of != "" {
			break
		}
	}
	return found
}

// quotaUser is the user that a cluster counts this client as; "": it derives one that is not known here.
func quotaUser(c *Config, d *Deps) string {
	switch {
	case c.SASL.Mechanism == OAuthBearer: // the token has it
		return ""
	case c.SASL.Mechanism != "":
		return c.SASL.User
	case d.Secure != nil: // a client certificate has a user, by rules of the cluster
		return ""
	}
	return anonymous
}
