package kafkatest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Options describe a cluster. The zero value is one broker with a heap of 512 MiB.
type Options struct {
	// Version is that of Apache Kafka; empty means the pinned one, [Version]. Versions below 3 get a ZooKeeper.
	Version string
	// Brokers is the number of brokers; each is a controller as well. 0 means 1.
	Brokers int
	// Heap is the -Xmx of each broker, for example "1g". Empty means "512m".
	Heap string
	// JVM are further options of the Java launcher.
	JVM []string
	// Properties are added to every broker's server.properties and win over what is there.
	Properties map[string]string
	// DataDir is where the brokers' directories are made; they are removed at Close. Empty means the
	// system's temporary folder.
	DataDir string
	// Advertise makes a second listener on every broker, for clients that come through a proxy. It
	// is called with the broker's index and that listener's address before the broker starts, and returns
	// the address that the broker tells these clients: the proxy's. A client that bootstraps at
	// [Cluster.Advertised] never hears of the direct addresses. Replication and this package's own
	// requests always go directly.
	Advertise func(broker int, target string) (string, error)
	// SASL makes a further listener on every broker, SASL_PLAINTEXT with SCRAM-SHA-256, for clients that
	// bootstrap at [Cluster.SASL]. Its users are made with [Cluster.SetPassword].
	SASL bool
	// ACLs makes brokers ask for permissions, see [WithACLs].
	ACLs bool
	// Secure makes a further listener on every broker, with TLS, for clients that bootstrap at [Cluster.Secure].
	// nil: none.
	Secure *Secure
}

// Secure describes a listener with TLS. The files are PEM; all brokers read the same ones.
type Secure struct {
	KeyStore string // private key of the brokers and their certificates
	// TrustStore has the authorities of client certificates, which every client must have then; "": none is asked for.
	TrustStore string
	Login      bool // SASL_SSL with SCRAM-SHA-512; users are made with [Cluster.SetPassword]
}

// Option changes Options.
type Option func(*Options)

// WithBrokers sets the number of brokers.
func WithBrokers(n int) Option { return func(o *Options) { o.Brokers = n } }

// WithVersion sets Options.Version.
func WithVersion(v string) Option { return func(o *Options) { o.Version = v } }

// WithHeap sets the -Xmx of each broker.
func WithHeap(size string) Option { return func(o *Options) { o.Heap = size } }

// WithProperty sets one line of every broker's server.properties.
func WithProperty(key, value string) Option {
	return func(o *Options) {
		if o.Properties == nil {
			o.Properties = map[string]string{}
		}
		o.Properties[key] = value
	}
}

// WithTokens lets clients in at [Cluster.SASL] that have a token in place of a password (OAUTHBEARER): JWTs for the
// audience "kafka", signed with a key of the file jwks (RFC 7517). The broker looks at signature, end and audience, and
// ends each session with its token, or after a time.
func WithTokens(jwks string, session time.Duration) Option {
	return func(o *Options) {
		o.SASL = true
		prefix := "listener.name." + strings.ToLower(listenerSASL) + "."
		const handlers = "org.apache.kafka.common.security.oauthbearer."
		for key, value := range map[string]string{
			"sasl.enabled.mechanisms":                        "OAUTHBEARER",
			"oauthbearer.sasl.jaas.config":                   handlers + "OAuthBearerLoginModule required;",
			"oauthbearer.sasl.server.callback.handler.class": handlers + "OAuthBearerValidatorCallbackHandler",
			"oauthbearer.connections.max.reauth.ms":          fmt.Sprint(session.Milliseconds()),
		} {
			WithProperty(prefix+key, value)(o)
		}
		// Those of a listener alone leave signature and audience unchecked.
		const all = "sasl.oauthbearer."
		WithProperty(all+"jwt.validator.class", handlers+"BrokerJwtValidator")(o)
		WithProperty(all+"jwks.endpoint.url", "file://"+jwks)(o)
		WithProperty(all+"expected.audience", "kafka")(o)
		WithProperty(all+"clock.skew.seconds", "0")(o)
		o.JVM = append(o.JVM, "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://"+jwks)
	}
}

// WithDataDir sets the folder in which the brokers' directories are made.
func WithDataDir(dir string) Option { return func(o *Options) { o.DataDir = dir } }

// WithAdvertise sets Options.Advertise.
func WithAdvertise(f func(broker int, target string) (string, error)) Option {
	return func(o *Options) { o.Advertise = f }
}

// WithSecure sets Options.Secure.
func WithSecure(s Secure) Option { return func(o *Options) { o.Secure = &s } }

// WithSASL sets Options.SASL.
func WithSASL() Option { return func(o *Options) { o.SASL = true } }

func (o *Options) setDefaults() {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Heap == "" {
		o.Heap = "512m"
	}
}

// The listeners of a broker.
const (
	listenerDirect     = "DIRECT"     // tests, bench, replication
	listenerProxied    = "PROXIED"    // clients behind Options.Advertise
	listenerSASL       = "LOGIN"      // clients that log in
	listenerSecure     = "SECURE"     // clients with TLS
	listenerController = "CONTROLLER" // KRaft
)

// ports are a broker's addresses, the same over all its restarts.
type ports struct {
	direct, controller string
	proxied            string // empty without Options.Advertise
	advertised         string // what clients of proxied are told
	sasl               string // empty without Options.SASL
	secure             string // empty without Options.Secure
}

// serverProperties is the configuration of broker i (from 0) of a cluster.
func serverProperties(o *Options, i int, all []ports, logDir string) string {
	me := all[i]
	listeners := []string{listenerDirect + "://" + me.direct, listenerController + "://" + me.controller}
	advertised := []string{listenerDirect + "://" + me.direct}
	if me.proxied != "" {
		listeners = append(listeners, listenerProxied+"://"+me.proxied)
		advertised = append(advertised, listenerProxied+"://"+me.advertised)
	}
	if me.sasl != "" {
		listeners = append(listeners, listenerSASL+"://"+me.sasl)
		advertised = append(advertised, listenerSASL+"://"+me.sasl)
	}
	if me.secure != "" {
		listeners = append(listeners, listenerSecure+"://"+me.secure)
		advertised = append(advertised, listenerSecure+"://"+me.secure)
	}
	voters := make([]string, len(all))
	for j, p := range all {
		voters[j] = fmt.Sprintf("%d@%s", nodeID(j), p.controller)
	}
	replicas := fmt.Sprint(min(3, len(all)))
	props := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        fmt.Sprint(nodeID(i)),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      listenerController,
		"inter.broker.listener.name":     listenerDirect,
		"listeners":                      strings.Join(listeners, ","),
		"advertised.listeners":           strings.Join(advertised, ","),
		"listener.security.protocol.map": listenerDirect + ":PLAINTEXT," + listenerProxied + ":PLAINTEXT," + listenerController + ":PLAINTEXT," + listenerSASL + ":SASL_PLAINTEXT," + listenerSecure + ":" + o.Secure.protocol(),
		"log.dirs":                       logDir,
		"auto.create.topics.enable":      "false",
		"default.replication.factor":     replicas,

		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "4",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    "1",
		"transaction.state.log.num.partitions":             "4",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            "1",

		// A killed broker may register again only when its old session has ended: 9 s by default.
		"broker.session.timeout.ms":    "4000",
		"broker.heartbeat.interval.ms": "1000",

		// The defaults of 2 s and 1 s make a quorum of several nodes on a busy machine vote without end.
		"controller.quorum.fetch.timeout.ms":    "6000",
		"controller.quorum.election.timeout.ms": "3000",

		// The default of 128 MiB for the cleaner alone does not go with a heap of 512 MiB.
		"log.cleaner.dedupe.buffer.size": "4194304",
	}
	if needsZooKeeper(o.Version) {
		withZooKeeper(props, nodeID(i), all[0].controller)
	}
	if o.ACLs {
		props["authorizer.class.name"], props["super.users"] = authorizer(o.Version), "User:ANONYMOUS"
	}
	if me.sasl != "" {
		addLogin(props, listenerSASL, scramSHA256)
	}
	if me.secure != "" {
		o.Secure.addTo(props)
	}
	maps.Copy(props, o.Properties)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(props)) {
		fmt.Fprintf(&b, "%s=%s\n", k, props[k])
	}
	return b.String()
}

// addLogin lets the users of [Cluster.SetPassword] in by a listener.
func addLogin(props map[string]string, listener string, m scram) {
	prefix := "listener.name." + strings.ToLower(listener) + "."
	props[prefix+"sasl.enabled.mechanisms"] = m.name
	props[prefix+strings.ToLower(m.name)+".sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
}

func (s *Secure) protocol() string {
	if s != nil && s.Login {
		return "SASL_SSL"
	}
	return "SSL"
}

func (s *Secure) addTo(props map[string]string) {
	prefix := "listener.name." + strings.ToLower(listenerSecure) + "."
	props[prefix+"ssl.keystore.type"], props[prefix+"ssl.keystore.location"] = "PEM", s.KeyStore
	if s.TrustStore != "" {
		props[prefix+"ssl.truststore.type"], props[prefix+"ssl.truststore.location"] = "PEM", s.TrustStore
		props[prefix+"ssl.client.auth"] = "required"
	}
	if s.Login {
		addLogin(props, listenerSecure, scramSHA512)
	}
}

func nodeID(i int) int { return i + 1 }
