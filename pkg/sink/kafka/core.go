package kafka

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// core is the ground that the sink's owners stand on: the partitions with their batches, the memory that they share, the
// ledger, and the one lock. Its methods need that lock, except where their comment says otherwise. It knows none of the
// owners: what one of them has to hear goes through a bell, a list that it empties, or one function.
type core struct {
	cfg        Config
	deps       Deps
	given      given
	log        *slog.Logger
	pool       *recordbatch.Pool
	ctx        context.Context // ends when Close gives up or is done
	cancel     context.CancelFunc
	tasks      sync.WaitGroup
	started    time.Time
	changes    bell        // rung when the reporter has to look
	wantsFrame func(*lane) // hears of lanes that have a batch without a frame; nil: nothing needs one

	mu        lock
	count     account
	atEnd     account // what Close left behind had when it returned
	losses    losses
	numbers   numbers
	marks     marks
	closed    bool
	main      topic
	dead      topic
	brokers   map[int32]*broker
	current   producer
	unsafe    bool          // no producer ids (PreferIdempotence and refused)
	expiry    time.Duration // how long brokers remember a producer
	told      bool          // a broker has answered the question for expiry; before, it is Kafka's default
	clusterID string        // "": not known yet, or the brokers have none
	want      wants
	disk      diskState
	// unreachedSince is since when no question for the state of the cluster was answered; zero: the last one was.
	unreachedSince time.Time
	roomMade       chan struct{} // closed and replaced when an appender may try again
	waiting        int           // appenders that wait on roomMade
	stalled        time.Time     // since when appends find no room; zero: they do
	ackedAt        time.Time     // the last batch that was acknowledged
	throttled      time.Duration // that brokers asked to wait
	drained        chan struct{} // closed when closed and nothing is unsettled
	free           []*batch
	alarms         map[string]time.Time
	instance       int // hash of Config.Instance for KeylessInstance

	codec      atomic.Uint32 // of new batches: Config.Codec, or what the brokers take in its place
	unfinished atomic.Bool   // endFrames has something to do

	spilledFrames, replayedFrames                   atomic.Int64
	possibleDuplicates, duplicatesSuppressed        atomic.Int64
	requests, batches, wireBytes, rawBytes, retries atomic.Int64
	splits, renewals, collisions                    atomic.Int64
}

// losses are the dropped events that have not been reported yet.
type losses struct{ full, expired loss }

func (s *core) begin(cfg Config, deps Deps) {
	s.cfg, s.deps, s.log = cfg, deps, deps.Logger
	s.given = givenBy(&s.cfg, &s.deps)
	s.pool = recordbatch.NewPool(cfg.BufferBytes)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.started, s.changes = time.Now(), newBell()
	s.count.dropped = map[string]int64{}
	s.brokers, s.alarms = map[int32]*broker{}, map[string]time.Time{}
	s.want.kick, s.roomMade, s.drained = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	s.expiry = 24 * time.Hour
	s.codec.Store(uint32(cfg.Codec))
	if cfg.Codec == recordbatch.None {
		s.pool.SumEarly()
	}
	if cfg.Keyless == KeylessInstance {
		s.instance = int(recordbatch.Murmur2([]byte(cfg.Instance)) & 0x7fffffff)
	}
	s.numbers.headers = cfg.Headers
	s.numbers.begin(0)
	s.want.producer = true
	s.main = topic{core: s, name: cfg.Topic, limit: cfg.BatchBytes}
	s.dead = topic{core: s, name: cfg.DeadLetterTopic, limit: cfg.BatchBytes, dead: true}
	// Every topic has a partition 0, so dead letters have a lane before their topic is known or made.
	s.dead.addLanes(1)
	s.watchState()
}
