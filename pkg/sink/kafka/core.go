package kafka

import (
	"context"
	"log/slog"
	"slices"
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
	thawedAt   time.Time   // when it was found that the process had stood still; zero: never
	changes    bell        // rung when the reporter has to look
	wantsFrame func(*lane) // hears of lanes that have a batch without a frame; nil: nothing needs one
	// giveUpStuck sends elsewhere what waits beside the buffers in those of the topic's first n lanes that cannot move, and
	// returns the memory that they keep.
	giveUpStuck func(t *topic, n int) int64

	mu      lock
	count   account
	atEnd   account // what Close left behind had when it returned
	losses  losses
	numbers numbers
	marks   marks
	closed  bool
	topics  []*topic // the main topics: Config.Topic, then those of Config.MoreTopics
	dead    topic
	all     []*topic // topics, then dead
	brokers map[int32]*broker
	current producer
	// retired: partitions that are new, or were gone, do not begin with ids up to this generation. retirements counts the
	// renewals: an answer that was asked for before one is not used.
	retired, retirements int
	// rehearsal: the id that is asked for at the start only shows that ids are given. The first batch asks for another one,
	// so a process that has sent nothing has none that a copy of it could share.
	rehearsal bool

	unsafe    bool          // batches get no producer ids (PreferIdempotence, and the last look at the cluster was refused one)
	expiry    time.Duration // how long brokers remember a producer
	clusterID string        // "": not known yet, or the brokers have none
	want      wants
	disk      diskState
	// unreachedSince is since when no question for the state of the cluster was answered; zero: the last one was.
	unreachedSince time.Time
	reachedSince   time.Time     // since when they are answered, without a gap
	roomMade       chan struct{} // closed and replaced when an appender may try again
	waiting        int           // appenders that wait on roomMade
	untakenEvents  int64         // with which they wait
	givenUp        int64         // events with which appenders have waited until their context ended
	stalled        time.Time     // since when appends find no room; zero: they do
	ackedAt        time.Time     // the last batch that was acknowledged
	throttled      time.Duration // that brokers asked to wait
	drained        chan struct{} // closed when closed and nothing is unsettled
	free           []*batch
	warnedAt       map[string]time.Time

	codec      atomic.Uint32 // of new batches: Config.Codec, or what the brokers take in its place
	unfinished atomic.Bool   // endFrames has something to do

	spilledFrames, replayedFrames                   atomic.Int64
	possibleDuplicates, duplicatesSuppressed        atomic.Int64
	requests, batches, wireBytes, rawBytes, retries atomic.Int64
	splits, renewals, collisions                    atomic.Int64
}

func (s *core) begin(cfg Config, deps Deps) {
	s.cfg, s.deps, s.log = cfg, deps, deps.Logger
	s.given = givenBy(&s.cfg, &s.deps)
	s.pool = recordbatch.NewPool(cfg.BufferBytes)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.started, s.changes = time.Now(), newBell()
	s.count.dropped = map[string]int64{}
	s.brokers, s.warnedAt = map[int32]*broker{}, map[string]time.Time{}
	s.want.kick, s.roomMade, s.drained = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	s.expiry = defaultExpiry
	s.codec.Store(uint32(cfg.Codec))
	if cfg.Codec == recordbatch.None {
		s.pool.SumEarly()
	}
	instance := int(recordbatch.Murmur2([]byte(cfg.Instance)) & 0x7fffffff)
	s.numbers.headers = cfg.Headers
	s.numbers.begin(0)
	s.want.producer, s.rehearsal = true, true
	for _, name := range cfg.mainTopics() {
		s.topics = append(s.topics, &topic{core: s, name: name, limit: cfg.BatchBytes, instance: instance})
	}
	s.dead = topic{core: s, name: cfg.DeadLetterTopic, limit: cfg.BatchBytes, dead: true}
	s.all = append(slices.Clone(s.topics), &s.dead)
	// Every topic has a partition 0, so dead letters have a lane before their topic is known or made.
	s.dead.addLanes(1)
	s.watchState()
}

// lanes are all lanes; first those whose frames are placed anew, then the unassigned one.
func (s *core) lanes() func(yield func(*lane) bool) {
	return func(yield func(*lane) bool) {
		for _, t := range s.all {
			for _, l := range t.gone {
				if !yield(l) {
					return
				}
			}
			if t.unassigned != nil && !yield(t.unassigned) {
				return
			}
			for _, l := range t.lanes {
				if !yield(l) {
					return
				}
			}
		}
	}
}

// lead moves a lane to the broker that leads it now. A lane without one fails since its former leader is silent: that the
// cluster tells of it later is no sign that it could move until then.
func (s *core) lead(l *lane, b *broker) {
	if b == nil {
		since := time.Now()
		if old := l.broker; old != nil && !old.silentSince.IsZero() {
			since = old.silentSince
		}
		l.fails(since)
	} else if !l.stuck() {
		l.stuckSince = time.Time{}
	}
	if b != nil && l.broker == nil {
		l.ledSince = time.Now()
	}
	if l.broker == b {
		return
	}
	if old := l.broker; old != nil {
		for i := range old.lanes {
			if old.lanes[i] == l {
				old.lanes = append(old.lanes[:i], old.lanes[i+1:]...)
				break
			}
		}
	}
	l.broker = b
	if b != nil {
		b.lanes = append(b.lanes, l)
		l.retryAt = time.Time{}
		b.signal()
	}
}

// drop counts n events that are in flight as lost.
func (s *core) drop(reason string, n int) {
	if n > 0 {
		s.count.dropped[reason] += int64(n)
		s.count.inFlight -= int64(n)
	}
}

// madeRoom wakes the appenders that wait.
func (s *core) madeRoom() {
	s.notFull()
	if s.waiting > 0 {
		close(s.roomMade)
		s.roomMade = make(chan struct{})
	}
}

// notFull forgets since when the buffers are full, if they are not.
func (s *core) notFull() {
	if !s.disk.fullSince.IsZero() && s.pool.InUse() < s.pool.Total()*3/4 {
		s.disk.fullSince = time.Time{}
	}
}

// sealFullest makes room when the buffers run short: the fullest open batch that can be sent is sealed, so
// that it does not wait for its linger. When the topic grows, all of them are.
func (s *core) sealFullest() {
	var fullest *lane
	for l := range s.lanes() {
		if l.open == nil {
			continue
		}
		if l.topic.grow != 0 {
			l.sealAndSend()
		} else if fullest == nil || l.freesMore(fullest) {
			fullest = l
		}
	}
	if fullest != nil {
		fullest.sealAndSend()
	}
}

func (l *lane) freesMore(than *lane) bool {
	if l.stuck() != than.stuck() {
		return than.stuck()
	}
	return l.open.rb.Size() > than.open.rb.Size()
}

// checkDrained tells Close that nothing is left.
func (s *core) checkDrained() {
	if s.closed && !s.unsettled() && s.disk.overflowing == 0 && !s.holdsFrames() {
		if s.ctx.Err() == nil && s.lastMarks(movingLane) {
			return // they have to be delivered first
		}
		select {
		case <-s.drained:
		default:
			close(s.drained)
		}
	}
}

// unsettled reports whether a batch is in memory that has not ended.
func (s *core) unsettled() bool {
	for _, t := range s.all {
		if t.batches > 0 {
			return true
		}
	}
	return false
}

// holdsFrames reports whether the spool holds back what is in it, or may hold. One that could not be opened keeps it for the
// next start.
func (s *core) holdsFrames() bool {
	s.dropDamaged()
	return s.disk.holding && (s.disk.sp == nil && s.disk.err == nil || s.count.spooled > 0)
}

// hasPending reports whether something waits for the cluster.
func (s *core) hasPending() bool {
	s.dropDamaged()
	return s.closed || s.waiting > 0 || s.unsettled() || s.count.spooled > 0
}

// wantProducer asks for a newer producer id, which will be used.
func (s *core) wantProducer() {
	s.rehearsal = false
	if !s.unsafe && !s.want.producer {
		s.want.producer = true
		s.want.nudge()
	}
}

// warnLimited logs at most once a minute for each key, so that a fault cannot become a stream.
func (s *core) warnLimited(key, msg string, args ...any) {
	const every = time.Minute
	if now := time.Now(); now.Sub(s.warnedAt[key]) >= every {
		s.warnedAt[key] = now
		s.log.Warn(msg, args...)
	}
}

// pause sleeps for d; false: the sink ends. The lock is free.
func (s *core) pause(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// awaitHold waits until the sink may look at the cluster; false: it ended before. The lock is free.
func (s *core) awaitHold() bool {
	if s.deps.Hold == nil {
		return true
	}
	select {
	case <-s.deps.Hold:
		return true
	case <-s.ctx.Done():
		return false
	}
}
