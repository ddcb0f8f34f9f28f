package kafka

import "functiongraph-ingest/pkg/sink/kafka/recordbatch"

// given are the settings that are in force: a remedy of kinds must not have an operator set what is set.
type given struct {
	*Config
	tls bool
}

func givenBy(c *Config, d *Deps) given { return given{c, d.Secure != nil} }

// remedy is what an operator can do about a kind of trouble: it names no setting that is in force already.
func (g given) remedy(k kind) string {
	sasl := g.SASL.Mechanism != ""
	switch k {
	case closes:
		const port = "a controller's port takes no events"
		switch {
		case g.tls && sasl:
			return "look at the log of the broker; " + port
		case g.tls:
			return "set --sasl if the port asks for a login; " + port
		case sasl:
			return "set --tls if the port speaks TLS; " + port
		}
	case wantsTLS:
		if g.tls {
			return "correct the port in --brokers: something in front of it speaks TLS as well"
		}
	case badLogin:
		if g.SASL.Mechanism == OAuthBearer {
			return "correct --oauth-client-id and --oauth-scope, or the token in --oauth-token-file: the broker looks at its issuer, audience, scope and end"
		}
	case producerDenied:
		if g.PreferIdempotence {
			return "grant WRITE on the topic (brokers before 2.8: IDEMPOTENT_WRITE on the cluster as well)"
		}
	case producersUnknown:
		if g.PreferIdempotence {
			return "upgrade the brokers; until then events may arrive twice after an outage"
		}
	case codecRefused:
		if g.Codec == recordbatch.Snappy {
			return "set --codec=none, or another that the broker knows"
		}
	}
	return kinds[k].remedy
}
