// Package config is every setting of ingest, declared once: as a flag, an environment variable
// INGEST_… and a key of a YAML file. A flag wins over the environment, that over the file, that over
// the default.
//
// [Config] is data. [Parse] makes one from a command line; [Config.Validate] finds what is wrong with it;
// [Config.Budget] turns the memory limit into the sizes of the parts.
package config

import "time"

// The values of --ack: when a delivery is answered with 200.
const (
	AckAccept = "accept" // its body is in the ring
	AckDisk   = "disk"   // every event is in a synced spool frame
	AckKafka  = "kafka"  // every event is acknowledged by Kafka or set aside
)

// The values of --sink.
const (
	SinkKafka  = "kafka"
	SinkNDJSON = "ndjson"
)

// The values of --keyless: the partition of events without a key.
const (
	KeylessSticky   = "sticky"   // one partition per batch
	KeylessInstance = "instance" // one partition for the whole life of this instance
)

// The values of --idempotence.
const (
	IdempotenceRequire = "require" // no producer id: not ready, and the sink keeps asking
	IdempotencePrefer  = "prefer"  // no producer id: deliver without
)

// The values of --headers: what records carry beside the event.
const (
	HeadersNone        = "none"
	HeadersStandard    = "standard"
	HeadersCloudEvents = "cloudevents"
)

// The values of --stuck-partition.
const (
	StuckDeadLetter = "dead-letter"
	StuckBlock      = "block"
)

// The values of --spool-full.
const (
	SpoolFullBlock      = "block"
	SpoolFullDropOldest = "drop-oldest"
	SpoolFullDropNewest = "drop-newest"
)

// The values of --timestamp: what the time of a record is.
const (
	TimestampAdmitted = "admitted" // when its body was admitted
	TimestampEvent    = "event"    // the event's startTime, where that is near its admission
)

// Off is the value of --admin, --spool-dir and --key that turns the part off.
const Off = "off"

// The values of --log-format.
const (
	LogAuto = "auto"
	LogText = "text"
	LogJSON = "json"
)

// Config is one complete set of settings. Fields are grouped as in the help.
//
// The tags are the contract: name is the flag and the YAML key, env the variable, ${…} a default that
// differs between commands (see defaults.go), oneof the only values allowed, doc the words for a default
// that is not a constant. placeholder stands for the value in the help. min and max are the bounds of a number,
// size or duration, both allowed, and also is a value beyond them. names says that the value names a file or a dir.
type Config struct {
	ConfigFile  string   `name:"config" env:"INGEST_CONFIG" placeholder:"FILE" doc:"none" names:"file" group:"general" help:"YAML file with settings; its keys are the names of the flags."`
	LogLevel    string   `name:"log-level" env:"INGEST_LOG_LEVEL" default:"info" oneof:"debug,info,warn,error" group:"general" help:"Minimum level of log lines on stderr: debug, info, warn, error."`
	LogFormat   string   `name:"log-format" env:"INGEST_LOG_FORMAT" default:"auto" oneof:"auto,text,json" group:"general" help:"Form of the log: text (key=value), json (one object a line), auto (serve: text on a terminal, else json; other commands: text)."`
	Admin       string   `name:"admin" env:"INGEST_ADMIN" default:"${admin}" group:"general" help:"Address of the status page (/), /ledger, /metrics, /status, /settings, /healthz, /readyz and /loglevel, host:port or unix:/PATH; off for none."`
	AdminHost   []string `name:"admin-host" env:"INGEST_ADMIN_HOST" placeholder:"NAME" doc:"none" group:"general" help:"Host names under which --admin answers where it is a loopback address, beside localhost and IP addresses; separated by commas."`
	PageContent bool     `name:"page-content" env:"INGEST_PAGE_CONTENT" default:"false" group:"general" help:"Show the beginning of the last dead letters on the status page and in /status."`
	Pprof       bool     `name:"pprof" env:"INGEST_PPROF" default:"false" group:"general" help:"Serve /debug/pprof on the admin address."`
	Instance    string   `name:"instance" env:"INGEST_INSTANCE" placeholder:"NAME" doc:"host name" group:"general" help:"Name of this instance, for --keyless=instance and the logs; default: the host name."`

	Listen          string        `name:"listen" env:"INGEST_LISTEN" default:"${listen}" group:"intake" help:"Address that takes telemetry, host:port or unix:/PATH; with a range of ports (host:8081-8090) the first free one."`
	Ack             string        `name:"ack" env:"INGEST_ACK" default:"${ack}" oneof:"accept,disk,kafka" group:"intake" help:"When a delivery is answered: accept (taken into memory), disk (every event is durable in --spool-dir), kafka (every event is acknowledged by Kafka)."`
	AckTimeout      time.Duration `name:"ack-timeout" env:"INGEST_ACK_TIMEOUT" default:"30s" min:"100ms" max:"24h" group:"intake" help:"Maximum wait for the acknowledgement; then the answer is 504 (outcome unknown) and the delivery goes on."`
	MaxBody         Bytes         `name:"max-body" env:"INGEST_MAX_BODY" default:"4MiB" min:"2B" max:"512MiB" group:"intake" help:"Maximum size of a body after decompression; larger ones get 413. Lowered with a warning when --memory-limit leaves less."`
	MaxHeaderBytes  Bytes         `name:"max-header-bytes" env:"INGEST_MAX_HEADER_BYTES" default:"8KiB" min:"1KiB" max:"64KiB" group:"intake" help:"Maximum size of request line and header together; larger ones get 431. Each open connection is charged as much of --memory-limit."`
	AdmitWait       time.Duration `name:"admit-wait" env:"INGEST_ADMIT_WAIT" default:"100ms" min:"0" max:"24h" group:"intake" help:"Maximum wait of a delivery for room in memory; then the answer is 503. While more than a fifth are refused the wait is up to 30 times as long, at most 3s."`
	MinBodyRate     Bytes         `name:"min-body-rate" env:"INGEST_MIN_BODY_RATE" default:"240B" min:"1B" max:"1GiB" also:"0" group:"intake" help:"Minimum bytes per second of a body while others wait for its memory or its connection's place; a slower one gets 408 after 5s. 0: no minimum."`
	MaxConns        int           `name:"max-conns" env:"INGEST_MAX_CONNS" default:"0" doc:"0: as many as fit in one eighth of --memory-limit, and 1,024 from 64MiB up" min:"1" max:"1048576" also:"0" group:"intake" help:"Maximum number of open connections; 0: as many as fit in one eighth of --memory-limit, and 1,024 from 64MiB up."`
	MaxConnAge      time.Duration `name:"max-conn-age" env:"INGEST_MAX_CONN_AGE" default:"0" min:"1s" max:"8760h" also:"0" group:"intake" help:"Maximum age of a connection, up to a tenth more or less; it ends with the answer to its request, so that clients find new replicas. 0: no maximum."`
	ReadTimeout     time.Duration `name:"read-timeout" env:"INGEST_READ_TIMEOUT" default:"30s" min:"100ms" max:"24h" group:"intake" help:"Maximum time to read one request; then the answer is 408."`
	IdleTimeout     time.Duration `name:"idle-timeout" env:"INGEST_IDLE_TIMEOUT" default:"5m" min:"100ms" max:"24h" group:"intake" help:"Maximum time that a connection stays open without a request."`
	Strict          bool          `name:"strict" env:"INGEST_STRICT" default:"true" negatable:"yes" group:"intake" help:"Make dead letters of events that are not valid JSON in UTF-8."`
	Decoders        int           `name:"decoders" env:"INGEST_DECODERS" default:"1" min:"1" max:"256" group:"intake" help:"Goroutines that decode bodies. One is faster than the parts around it."`
	RingItems       int           `name:"ring-items" env:"INGEST_RING_ITEMS" default:"1024" min:"1" max:"524288" group:"intake" help:"Maximum number of bodies that wait for a decoder."`
	DrainDelay      time.Duration `name:"drain-delay" env:"INGEST_DRAIN_DELAY" default:"0" min:"0" max:"1h" group:"intake" help:"Time after SIGTERM in which deliveries are still taken and /readyz answers 503, so that balancers notice first. --shutdown-timeout begins after it."`
	ShutdownTimeout time.Duration `name:"shutdown-timeout" env:"INGEST_SHUTDOWN_TIMEOUT" default:"${shutdown_timeout}" min:"10ms" max:"24h" group:"intake" help:"Maximum time after SIGTERM to deliver accepted events."`

	ListenTLSCert     []string `name:"listen-tls-cert" env:"INGEST_LISTEN_TLS_CERT" placeholder:"FILES" doc:"none" names:"file" group:"guard" help:"Certificate of --listen and its chain, PEM files separated by commas; the private key may be in them. With it --listen takes TLS only, and a connection takes three times the memory."`
	ListenTLSKey      string   `name:"listen-tls-key" env:"INGEST_LISTEN_TLS_KEY" placeholder:"FILE" doc:"none" names:"file" group:"guard" help:"Private key of --listen-tls-cert, where it has a file of its own; PEM without a password."`
	ListenTLSClientCA []string `name:"listen-tls-client-ca" env:"INGEST_LISTEN_TLS_CLIENT_CA" placeholder:"FILES" doc:"none" names:"file" group:"guard" help:"Authorities for clients of --listen, PEM files separated by commas; every client must show a certificate that one of them has signed."`
	ListenTokenFile   string   `name:"listen-token-file" env:"INGEST_LISTEN_TOKEN_FILE" placeholder:"FILE" doc:"none" names:"file" group:"guard" help:"File of tokens, one a line; every request to --listen must carry one of them: Authorization: Bearer TOKEN."`
	ListenHealth      bool     `name:"listen-health" env:"INGEST_LISTEN_HEALTH" default:"false" group:"guard" help:"Answer GET /healthz and /readyz on --listen too, without a token, for load balancers."`
	CORSOrigin        []string `name:"cors-origin" env:"INGEST_CORS_ORIGIN" placeholder:"ORIGIN" doc:"none" group:"guard" help:"Origins of web pages that may post (https://example.org), separated by commas; * for all. Pages of other origins get 403."`
	AdminTLSCert      []string `name:"admin-tls-cert" env:"INGEST_ADMIN_TLS_CERT" placeholder:"FILES" doc:"none" names:"file" group:"guard" help:"As --listen-tls-cert, for --admin."`
	AdminTLSKey       string   `name:"admin-tls-key" env:"INGEST_ADMIN_TLS_KEY" placeholder:"FILE" doc:"none" names:"file" group:"guard" help:"As --listen-tls-key, for --admin."`
	AdminTLSClientCA  []string `name:"admin-tls-client-ca" env:"INGEST_ADMIN_TLS_CLIENT_CA" placeholder:"FILES" doc:"none" names:"file" group:"guard" help:"As --listen-tls-client-ca, for --admin."`
	AdminTokenFile    string   `name:"admin-token-file" env:"INGEST_ADMIN_TOKEN_FILE" placeholder:"FILE" doc:"none" names:"file" group:"guard" help:"As --listen-token-file, for --admin; /healthz and /readyz need none."`
	SocketMode        string   `name:"socket-mode" env:"INGEST_SOCKET_MODE" default:"0660" group:"guard" help:"Mode of a Unix socket (--listen=unix:/PATH, --admin=unix:/PATH); clients need the right to write."`

	Sink             string        `name:"sink" env:"INGEST_SINK" default:"kafka" oneof:"kafka,ndjson" group:"delivery" help:"Where events go: kafka, or ndjson (lines in --output)."`
	Output           string        `name:"output" env:"INGEST_OUTPUT" default:"-" names:"file" group:"delivery" help:"File of --sink=ndjson; - for stdout."`
	Brokers          []string      `name:"brokers" env:"INGEST_BROKERS" placeholder:"HOST:PORT" doc:"required" group:"delivery" help:"Kafka brokers to start from, separated by commas. Required."`
	Topic            string        `name:"topic" env:"INGEST_TOPIC" placeholder:"TOPIC" doc:"required" group:"delivery" help:"Topic of the events. Required."`
	TopicPlatform    string        `name:"topic-platform" env:"INGEST_TOPIC_PLATFORM" placeholder:"TOPIC" doc:"--topic" group:"delivery" help:"Topic of the platform's events (name: platform.…); default: --topic."`
	TopicFunction    string        `name:"topic-function" env:"INGEST_TOPIC_FUNCTION" placeholder:"TOPIC" doc:"--topic" group:"delivery" help:"Topic of log lines of the function (name: function); default: --topic."`
	TopicExtension   string        `name:"topic-extension" env:"INGEST_TOPIC_EXTENSION" placeholder:"TOPIC" doc:"--topic" group:"delivery" help:"Topic of log lines of extensions (name: extension); default: --topic."`
	DeadLetterTopic  string        `name:"dead-letter-topic" env:"INGEST_DEAD_LETTER_TOPIC" placeholder:"TOPIC.dlq" doc:"<topic>.dlq" group:"delivery" help:"Topic of dead letters, the events that cannot go to the topic; default: the topic with .dlq at its end."`
	CreateTopic      bool          `name:"create-topic" env:"INGEST_CREATE_TOPIC" default:"false" group:"delivery" help:"Create --topic and those of the categories when they are missing."`
	TopicPartitions  int           `name:"topic-partitions" env:"INGEST_TOPIC_PARTITIONS" default:"-1" min:"1" max:"1000000" also:"-1" group:"delivery" help:"Partitions of a topic that is created; -1: the broker's default."`
	TopicReplication int           `name:"topic-replication" env:"INGEST_TOPIC_REPLICATION" default:"-1" min:"1" max:"100" also:"-1" group:"delivery" help:"Replicas of a topic that is created; -1: the broker's default. Brokers before 2.4 have no default: as many as there are brokers, at most 3. The same holds for --topic-partitions."`
	Key              string        `name:"key" env:"INGEST_KEY" default:"traceId" placeholder:"FIELD" group:"delivery" help:"Top-level field of each event that is its key, a string or a number; off: no event has a key. Events with the same key keep their order."`
	Keyless          string        `name:"keyless" env:"INGEST_KEYLESS" default:"${keyless}" oneof:"sticky,instance" group:"delivery" help:"Partition of events without a key: sticky (one per batch), instance (one for this instance)."`
	Timestamp        string        `name:"timestamp" env:"INGEST_TIMESTAMP" default:"admitted" oneof:"admitted,event" group:"delivery" help:"Timestamp of each record: admitted (when its delivery was accepted), event (its startTime, if that is at most 24h before and 10m after the admission)."`
	Headers          string        `name:"headers" env:"INGEST_HEADERS" default:"none" oneof:"none,standard,cloudevents" group:"delivery" help:"Headers of each record: none, standard (function, version, instance, a sequence number), cloudevents (the attributes of CloudEvents 1.0). The value stays as it is."`
	Tags             []string      `name:"tags" env:"INGEST_TAGS" placeholder:"NAME=VALUE" doc:"none" group:"delivery" help:"Headers ingest-tag-NAME of each record, separated by commas; needs --headers."`
	MarkInterval     time.Duration `name:"mark-interval" env:"INGEST_MARK_INTERVAL" default:"30s" min:"1s" max:"24h" also:"0" group:"delivery" help:"With --headers, interval of the records that state what was sent (header ingest-mark), while events come; one more follows at the end. \"ingest audit\" needs them to prove that nothing is missing. 0: none."`
	Idempotence      string        `name:"idempotence" env:"INGEST_IDEMPOTENCE" default:"require" oneof:"require,prefer" group:"delivery" help:"require: nothing is sent without a producer id; prefer: events are sent without one if the broker refuses it, and may arrive twice."`
	Codec            string        `name:"codec" env:"INGEST_CODEC" default:"snappy" oneof:"none,snappy,lz4,zstd,gzip" group:"delivery" help:"Compression of batches: none, snappy, lz4, zstd, gzip."`
	Linger           time.Duration `name:"linger" type:"auto" env:"INGEST_LINGER" default:"auto" doc:"20ms with --ack=accept, 1ms otherwise" min:"0" max:"1h" group:"delivery" help:"Maximum time that a batch waits for more events; auto: 20ms with --ack=accept, 1ms otherwise."`
	BatchBytes       Bytes         `name:"batch-bytes" env:"INGEST_BATCH_BYTES" default:"256KiB" min:"16KiB" max:"1MiB" group:"delivery" help:"Size at which a batch is sent without waiting."`
	RequestTimeout   time.Duration `name:"request-timeout" env:"INGEST_REQUEST_TIMEOUT" default:"5s" min:"100ms" max:"24h" group:"delivery" help:"Maximum wait for a broker's answer to one request."`
	MetadataTTL      time.Duration `name:"metadata-ttl" env:"INGEST_METADATA_TTL" default:"60s" min:"1s" max:"24h" group:"delivery" help:"Maximum age of what is known about partitions and leaders; then the brokers are asked again."`
	ClientID         string        `name:"client-id" env:"INGEST_CLIENT_ID" default:"ingest" group:"delivery" help:"Name given to the brokers."`

	ExtensionName  string   `name:"extension-name" env:"INGEST_EXTENSION_NAME" default:"extensionIngest.sh" group:"extension" help:"Full file name of the script in the package's folder extension/ that starts this process."`
	TelemetryTypes []string `name:"telemetry-types" env:"INGEST_TELEMETRY_TYPES" default:"platform,function,extension" group:"extension" help:"Types of telemetry to subscribe to, separated by commas: platform, function, extension."`
	TelemetryPath  string   `name:"telemetry-path" env:"INGEST_TELEMETRY_PATH" default:"/" placeholder:"/PATH" group:"extension" help:"Path that telemetry is posted to, and no other; random: one that cannot be guessed, so that other code in the instance cannot feed events."`
	OwnLogs        bool     `name:"own-logs" env:"INGEST_OWN_LOGS" default:"false" group:"extension" help:"Deliver also the lines of this process's own log, which come back as extension events; each begins with [Extension], since the platform may collect no others."`

	MemoryLimit Bytes         `name:"memory-limit" env:"INGEST_MEMORY_LIMIT" default:"${memory_limit}" doc:"64MiB (serve), a quarter of the memory of the cgroup or of RUNTIME_MEMORY within 32MiB-64MiB (extension)" min:"1MiB" max:"1024GiB" group:"memory" help:"Memory of the whole process (RSS), kept within 8 MiB."`
	BufferBytes Bytes         `name:"buffer-bytes" env:"INGEST_BUFFER_BYTES" default:"16MiB" min:"64KiB" max:"1024GiB" group:"memory" help:"Maximum memory of batches, open and in flight; less when --memory-limit is small."`
	SpoolDir    string        `name:"spool-dir" env:"INGEST_SPOOL_DIR" default:"${spool_dir}" doc:"off (serve), /tmp/ingest-spool-UID (extension)" names:"dir" group:"memory" help:"Directory for events that must outlive an outage or the process; created when missing; off for none."`
	SpoolMax    Bytes         `name:"spool-max" env:"INGEST_SPOOL_MAX" default:"0" doc:"0: a quarter of what is free at the start, at most 1GiB; in memory a quarter of --memory-limit" min:"1MiB" max:"65536GiB" also:"0" group:"memory" help:"Maximum bytes in --spool-dir; 0: a quarter of what is free at the start, at most 1GiB. On a file system in memory they count against --memory-limit, and 0 is a quarter of that."`
	SpoolMaxAge time.Duration `name:"spool-max-age" env:"INGEST_SPOOL_MAX_AGE" default:"0" min:"1s" max:"8760h" also:"0" group:"memory" help:"Maximum time that events lie in the spool, by the wall clock, also while Kafka is away; older ones are dropped, counted (spool_expired) and reported to the dead-letter topic. 0: no maximum."`
	SpoolMemory bool          `name:"spool-in-memory" env:"INGEST_SPOOL_IN_MEMORY" default:"false" group:"memory" help:"Take --ack=disk also where --spool-dir is on a file system in memory (tmpfs, ramfs): 200 then means that events outlive the process, but not the machine."`
	SpoolKeep   Bytes         `name:"spool-keep-free" env:"INGEST_SPOOL_KEEP_FREE" default:"0" doc:"0: half of what is free at the start" min:"0" max:"65536GiB" group:"memory" help:"Minimum free space that the spool leaves on its file system; 0: half of what is free at the start."`
	SpoolFull   string        `name:"spool-full" env:"INGEST_SPOOL_FULL" default:"block" oneof:"block,drop-oldest,drop-newest" group:"memory" help:"When memory and spool are full: block (deliveries wait, then 503), drop-oldest, drop-newest; dropped events are counted and reported to the dead-letter topic."`
	Stuck       string        `name:"stuck-partition" env:"INGEST_STUCK_PARTITION" default:"dead-letter" oneof:"dead-letter,block" group:"memory" help:"When there is no room and one partition cannot move while others can: dead-letter (its events with a key go to the dead-letter topic, and are dropped and counted if that cannot move either; others go on), block (all deliveries wait, then 503)."`

	TLS              bool     `name:"tls" env:"INGEST_TLS" default:"false" group:"security" help:"Connect to the brokers with TLS."`
	TLSCA            []string `name:"tls-ca" env:"INGEST_TLS_CA" placeholder:"FILES" doc:"the system's" names:"file" group:"security" help:"Certificates of the trusted authorities, PEM files separated by commas; default: the system's."`
	TLSVerify        string   `name:"tls-verify" env:"INGEST_TLS_VERIFY" default:"full" oneof:"full,ca" group:"security" help:"Checks of a broker's certificate: full (authority, dates, usage and name), ca (all except the name, for brokers whose certificate does not have their address; needs --tls-ca)."`
	TLSServerName    string   `name:"tls-server-name" env:"INGEST_TLS_SERVER_NAME" placeholder:"NAME" doc:"the broker's address" group:"security" help:"Name that is sent to the brokers and expected in their certificates, in place of the dialled address."`
	TLSCert          []string `name:"tls-cert" env:"INGEST_TLS_CERT" placeholder:"FILES" doc:"none" names:"file" group:"security" help:"Certificate of this client and its chain, PEM files separated by commas; the private key may be in them."`
	TLSKey           string   `name:"tls-key" env:"INGEST_TLS_KEY" placeholder:"FILE" doc:"none" names:"file" group:"security" help:"Private key of --tls-cert, where it has a file of its own; PEM without a password."`
	TLSMinVersion    string   `name:"tls-min-version" env:"INGEST_TLS_MIN_VERSION" default:"1.2" oneof:"1.2,1.3" group:"security" help:"Minimum version of TLS: 1.2, 1.3."`
	SASL             Secret   `name:"sasl" env:"INGEST_SASL" placeholder:"USER:PASSWORD" doc:"none" group:"security" help:"User and password in one setting, for SCRAM-SHA-512 or the mechanism of --sasl-mechanism; on the command line others can see it."`
	SASLMechanism    string   `name:"sasl-mechanism" env:"INGEST_SASL_MECHANISM" default:"off" oneof:"off,PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER" group:"security" help:"How to log in to the brokers: off, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER (see --oauth-token-url and --oauth-token-file)."`
	SASLUser         string   `name:"sasl-user" env:"INGEST_SASL_USER" placeholder:"NAME" doc:"none" group:"security" help:"User of --sasl-mechanism."`
	SASLPassword     Secret   `name:"sasl-password" env:"INGEST_SASL_PASSWORD" placeholder:"SECRET" doc:"none" group:"security" help:"Password of --sasl-user; on the command line others can see it."`
	SASLPasswordFile string   `name:"sasl-password-file" env:"INGEST_SASL_PASSWORD_FILE" placeholder:"FILE" doc:"none" names:"file" group:"security" help:"File that holds the password; read again when it has changed."`
	OAuthURL         string   `name:"oauth-token-url" env:"INGEST_OAUTH_TOKEN_URL" placeholder:"URL" doc:"none" group:"security" help:"Token endpoint for OAUTHBEARER (client credentials grant), https, or http to this machine; it is asked before the last token ends."`
	OAuthClientID    string   `name:"oauth-client-id" env:"INGEST_OAUTH_CLIENT_ID" placeholder:"NAME" doc:"none" group:"security" help:"Client of --oauth-token-url."`
	OAuthSecretFile  string   `name:"oauth-client-secret-file" env:"INGEST_OAUTH_CLIENT_SECRET_FILE" placeholder:"FILE" doc:"none" names:"file" group:"security" help:"File that holds the secret of --oauth-client-id; read again when it has changed."`
	OAuthScope       string   `name:"oauth-scope" env:"INGEST_OAUTH_SCOPE" placeholder:"SCOPES" doc:"the endpoint's" group:"security" help:"Requested scopes, separated by blanks."`
	OAuthTokenFile   string   `name:"oauth-token-file" env:"INGEST_OAUTH_TOKEN_FILE" placeholder:"FILE" doc:"none" names:"file" group:"security" help:"File that holds the token for OAUTHBEARER, in place of --oauth-token-url; read again when it has changed."`

	command     Command
	descriptors int      // see Host
	inMemory    string   // see SpoolIn
	spoolOut    bool     // see SpoolIn
	replays     bool     // spool replay: no bodies come, and the spool makes room for what is in it
	found       []string // problems of reading and deriving values; Validate reports them with its own
	unread      bool     // the file could not be read: what is missing may stand in it
	warnings    []string
	sources     map[string]string // where a setting was given, by name
}
