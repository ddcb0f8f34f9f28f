package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Keyless says where records without a key go.
type Keyless uint8

const (
	// KeylessSticky fills one batch of one partition, then moves to the next partition. Big batches,
	// even spread, order within a batch only.
	KeylessSticky Keyless = iota
	// KeylessInstance sends all of them to the one partition that Config.Instance hashes to, so that
	// what one instance says keeps its order.
	KeylessInstance
)

// Config is what users set. Zero values take the default given beside each field.
type Config struct {
	Brokers []string // host:port of any brokers of the cluster; required
	Topic   string   // required
	// MoreTopics are further main topics: sink.Record.Topic 1 is the first of them. Each has all that Topic has: partitions,
	// order, frames, marks. Their names differ from each other and from those of the other topics.
	MoreTopics      []string
	DeadLetterTopic string // <topic>.dlq
	ClientID        string // ingest

	CreateTopic bool // create Topic and MoreTopics when they are missing; the dead-letter topic always is, on first need
	// For created topics; 0: the brokers' default, and where brokers have none to ask for (before Kafka 2.4) as many
	// as there are brokers, at most three.
	TopicPartitions, TopicReplication int

	Codec       recordbatch.Codec // none
	Linger      time.Duration     // how long an open batch waits for more; 0: as long as no request is free
	BatchBytes  int               // 256 KiB; an open batch is sealed before it grows past this
	BufferBytes int64             // 16 MiB; all batches that are not settled live in it
	// OversizeBytes bounds the memory of records larger than BatchBytes, which get a buffer of their own.
	// One of them is always admitted, so the true bound is OversizeBytes or the largest record. Batches that
	// were split because the broker refused them have the same bound again, and in each partition 16 KiB more as often
	// as one batch can be halved; dead letters have their own two. What is placed in other partitions has it too,
	// rounded up to 16 KiB for each, and one batch's in any case. 4 MiB.
	OversizeBytes int64

	Headers Headers // none
	// MarkInterval is how often a mark record is sent while events come; with the last one at the end. Only with Headers;
	// 0: there are none.
	MarkInterval time.Duration

	Keyless  Keyless
	Instance string // for KeylessInstance

	StuckPartition StuckPartition // dead letter

	Settle    Settle    // on Kafka
	SpoolFull SpoolFull // block
	// SpoolMaxAge is how long a frame may lie on disk, by the wall clock: an older one is dropped, reason "spool_expired",
	// also while nothing moves at all. 0: for ever.
	SpoolMaxAge time.Duration
	// ReplayBytes bounds the frames that are read back from the spool at one time; each request may hold one
	// frame beyond it. 1 MiB. Only with a spool.
	ReplayBytes int64
	// DeadSpoolBytes bounds the dead letters on disk that no topic takes until an operator acts. 64 MiB.
	DeadSpoolBytes int64
	// StowTime is the part of Close's time that is kept for the disk: what Kafka has not taken by then goes
	// to the spool. 2s, and at most a third of all.
	StowTime time.Duration

	// PreferIdempotence goes on without producer ids when the cluster refuses them: at-least-once, and
	// Stats say so. Without it a refusal is a configuration error and nothing is sent.
	PreferIdempotence bool

	RequestTimeout time.Duration // 5s; one request, from the hand-over to its answer
	RetryMin       time.Duration // 50ms; doubles up to RetryMax with jitter
	RetryMax       time.Duration // 1s
	MetadataTTL    time.Duration // 60s

	// ShowContent keeps the beginning of the last dead letters for the status page.
	ShowContent bool

	SASL SASL
}

// SASL names the credentials. Mechanism "" is none.
type SASL struct {
	Mechanism string // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER; the last has a token, see Deps.Token
	User      string
	Password  string
}

// Deps is what developers inject. Nil fields take the real thing.
type Deps struct {
	Logger *slog.Logger
	// Dial replaces the TCP dialler (tests cut connections with it). It must return when ctx ends.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Secure makes a TLS connection of c, which was dialled to the broker at address (host:port), and returns when
	// the handshake is done; c is closed when it fails. Nil: plaintext. It is called for each connection, so it may
	// use certificates that were renewed. Its errors are logged; one with a method Trouble() sink.Trouble says itself what is wrong
	// and what helps.
	Secure func(ctx context.Context, c net.Conn, address string) (net.Conn, error)
	// Credentials are asked for at each login, in place of those of Config.SASL: a password may have been renewed. Nil:
	// those of Config.SASL.
	Credentials func() (user, password string)
	// Token is asked for at each login by OAUTHBEARER, and must return when ctx ends. rejected is the last token that a
	// broker has refused, "" if none has. An error may explain itself, as those of Secure.
	Token func(ctx context.Context, rejected string) (string, error)
	// TokenRefused says what is wrong with a token of Token that a broker has refused, as far as the token shows it;
	// its Error is left to the broker. Nil: the remedy is a general one.
	TokenRefused func(token string) sink.Trouble
	// NewTransport replaces the transport over TCP: a simulation puts a modelled cluster here. Secure, SASL and
	// Dial do not matter then.
	NewTransport func() Transport
	// Hold, when not nil, keeps the sink from looking at the cluster before it is closed: in a function's cold
	// start others come first. Records are taken all the same, as far as there is room.
	Hold <-chan struct{}
	// Origin returns headers that say where the events come from, for every dead letter, and with Config.Headers for
	// every record. It must be cheap: it is called often, from any goroutine, with a lock held. The list is not
	// written to by either side: other headers are another list. Nil: none.
	Origin func() []sink.Header
	// SetAside keeps an event that no topic can take, whole, outside of Kafka, and returns once it is
	// safe. Nil is the spool's; without one, or with an error, the event is dropped with reason "too_large".
	SetAside func(raw []byte, sha256 [32]byte) error
	// OpenSpool opens the disk queue and reads what the last process left in it; nil: there is none. It is
	// called from a goroutine of the sink, and again each second while it fails. The sink closes what it
	// returns. Nothing is sent until it has opened the spool, or has failed once.
	OpenSpool func() (diskqueue.Spool, error)

	// Observer hears how long requests, batches and syncs take; nil: not wanted.
	Observer Observer

	fastSync        time.Duration // tests: in place of the constant; negative: no disk is fast
	stuckAfter      time.Duration // tests: in place of the constant
	placingPatience time.Duration // 0: placingPatience
}

// Observer is told of the sink's work: once for a request, a batch or a sync, never for an event. Its methods are called
// from several goroutines, some under a lock, and must not block.
type Observer interface {
	// Request: a produce request was answered, or failed, after d.
	Request(d time.Duration)
	// Acked: a batch of good events was acknowledged, of so many bytes on the wire, so long after its first event was
	// appended, and after its oldest event was admitted (by the records' timestamps), time on disk included.
	Acked(bytes int, sinceFirst, sinceAdmitted time.Duration)
	// Synced: a round of waiting for the disk took d.
	Synced(d time.Duration)
}

const (
	defaultBatchBytes  = 256 << 10 // the knee of the cost curve: bigger costs the broker, smaller costs requests
	defaultBufferBytes = 16 << 20  // 64 full batches: 4 partitions x (open + in flight) x 8
	maxRequestBytes    = 1 << 20   // kafka-go copies a request while it writes it: this bounds the copy
	requestsPerBroker  = 2
	// A dead-letter value larger than this is cut: the broker's default limit is 1,048,588 bytes a batch.
	maxDeadLetterBytes = 1_000_000
	truncatedBytes     = 64 << 10
	// Dead letters may hold this share of the buffers while their topic cannot take them.
	deadLetterShare = 8
	// So many refusals in a row, RetryMax apart, and their topic is not expected to take them any more.
	maxRefusals = 5
)

// The bounds of Config.BatchBytes: a chunk of the pool, and what kafka-go may copy for one request.
const (
	MinBatchBytes = recordbatch.ChunkSize
	MaxBatchBytes = maxRequestBytes
)

func (c *Config) setDefaults() {
	def(&c.DeadLetterTopic, c.Topic+".dlq")
	def(&c.ClientID, "ingest")
	def(&c.BatchBytes, defaultBatchBytes)
	def(&c.BufferBytes, int64(defaultBufferBytes))
	def(&c.OversizeBytes, int64(4<<20))
	def(&c.RequestTimeout, 5*time.Second)
	def(&c.RetryMin, 50*time.Millisecond)
	def(&c.RetryMax, time.Second)
	def(&c.MetadataTTL, 60*time.Second)
	def(&c.ReplayBytes, int64(1<<20))
	def(&c.DeadSpoolBytes, int64(64<<20))
	def(&c.StowTime, 2*time.Second)
	if c.TopicPartitions == 0 {
		c.TopicPartitions = -1
	}
	if c.TopicReplication == 0 {
		c.TopicReplication = -1
	}
}

// mainTopics are the names of all main topics, in a list of its own.
func (c *Config) mainTopics() []string { return append([]string{c.Topic}, c.MoreTopics...) }

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate finds everything that New would refuse, without starting anything. Fields that New gives a default may
// be zero. No message has a password in it.
func (c Config) Validate() error {
	c.setDefaults()
	return c.validate()
}

func (c *Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		bad("kafka: no brokers given")
	}
	if c.Topic == "" {
		bad("kafka: no topic given")
	}
	if slices.Contains(c.mainTopics(), c.DeadLetterTopic) {
		bad("kafka: the dead-letter topic must differ from the topic %q", c.DeadLetterTopic)
	}
	for i, name := range c.MoreTopics {
		if name == "" || name == c.Topic || slices.Contains(c.MoreTopics[:i], name) {
			bad("kafka: more topics: %q is empty, or there already", name)
		}
	}
	if c.BatchBytes < MinBatchBytes || c.BatchBytes > MaxBatchBytes {
		bad("kafka: batch bytes %d must lie between %d and %d", c.BatchBytes, MinBatchBytes, MaxBatchBytes)
	}
	if c.BufferBytes < 2*int64(c.BatchBytes) {
		bad("kafka: buffer bytes %d must hold at least two batches of %d", c.BufferBytes, c.BatchBytes)
	}
	if c.SpoolMaxAge < 0 {
		bad("kafka: the maximum age in the spool, %v, is negative", c.SpoolMaxAge)
	}
	if c.Keyless == KeylessInstance && c.Instance == "" {
		bad("kafka: keyless=instance needs an instance name")
	}
	if err := c.SASL.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// StuckPartition says what becomes of events whose partition cannot move while others can, when what waits for
// such partitions has taken its share of the memory and the spool has no room.
type StuckPartition uint8

const (
	// StuckDeadLetter sends keyed events to the dead-letter topic, with reason "partition_unavailable" and the
	// topic and partition in headers; the key stays. When that topic cannot move either they are
	// dropped. Other partitions go on.
	StuckDeadLetter StuckPartition = iota
	// StuckBlock lets Append wait. One partition then stops all.
	StuckBlock
)

// minSplitLimit is the smallest limit of a topic's batches that is learnt from refusals.
const minSplitLimit = recordbatch.ChunkSize / 4
