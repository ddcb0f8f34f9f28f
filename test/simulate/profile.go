package simulate

import (
	"math/rand/v2"
	"time"

	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// A family is one kind of trouble. Each schedule has a few of them: most faults need two or three at once, and all
// at once hide each other.
type family uint32

const (
	lostAnswers  family = 1 << iota // a request arrives and its answer does not
	lateCopies                      // a request arrives after its client has given it up, perhaps after newer ones
	earlyCodes                      // codes that Kafka raises before it appends
	lateCodes                       // codes that Kafka can answer after it has appended
	moves                           // leaders move, partitions lose theirs
	outages                         // brokers stop
	limits                          // a topic's max.message.bytes is lowered and raised
	clocks                          // a topic's bounds on timestamps are narrowed and widened
	contents                        // a topic begins to refuse some records
	growth                          // partitions are added
	anew                            // the topic is deleted and made anew
	fewer                           // and with fewer partitions
	otherCluster                    // the cluster's addresses lead to another, empty cluster
	forgotten                       // brokers forget producers
	slowDisk                        // operations of the disk take their time
	brokenDisk                      // operations of the disk fail
	fullDisk                        // others fill the disk
	squeezed                        // and when all is well again, less than --spool-keep-free stays free
	lateSpool                       // the spool's directory is held by another process at first
	kills                           // kill -9, and a new process on the same directory
	powerLoss                       // the machine loses power instead
	restarts                        // SIGTERM
	bigEvents                       // events larger than a batch
	deadLetters                     // bad elements
	drops                           // --spool-full=drop-oldest or drop-newest
	noDeadTopic                     // the dead-letter topic may not be created
	lateCluster                     // the cluster cannot be reached at first
	clones                          // another process writes with the sink's producer ids
	damage                          // bytes of frames flip on the disk; only where a scenario must have it, see drawn
	allFamilies  = 1<<iota - 1
)

var familyNames = []string{
	"lost-answers", "late-copies", "early-codes", "late-codes", "moves", "outages", "limits", "clocks", "contents", "growth", "anew", "fewer",
	"other-cluster", "forgotten", "slow-disk", "broken-disk", "full-disk", "squeezed", "late-spool", "kills", "power-loss", "restarts",
	"big-events", "dead-letters", "drops", "no-dead-topic", "late-cluster", "clones", "damage",
}

// drawn is how many of the families a seed draws. Those that came later are in their own scenarios only: the seeds of all
// others mean what they meant.
const drawn = 28

func (f family) String() string {
	s := ""
	for i, name := range familyNames {
		if f&(1<<i) != 0 {
			s += " " + name
		}
	}
	return s
}

// withheld are families that the scenario everything leaves out, so that its seeds mean what they meant. They have scenarios of
// their own, and few draws from all.
var withheld = fewer | contents | limits | forgotten | squeezed | otherCluster | lateSpool | brokenDisk

// recognised are the families beside which brokers recognise every resend: nothing may come twice, nor be counted as if it
// might. With slowDisk it may be counted: a stamp may not be on disk when its batch is sent.
const recognised = lostAnswers | lateCopies | lateCodes | moves | outages | growth | slowDisk | kills | restarts | bigEvents | deadLetters | lateCluster

// profile is what one seed's schedule is made of.
type profile struct {
	families   family
	settle     kafka.Settle
	spool      bool
	policy     kafka.SpoolFull
	brokers    int
	partitions int
	topics     int // of events; all but the first may be missing at first
	appenders  int
	steps      int
	medium     int // of 8 events, how many have some KB
	keepFree   int64
	frames     int // that the spool's index has entries for; 0: many
	expiry     time.Duration
	codec      recordbatch.Codec
	linger     time.Duration
	batch      int
	buffers    int64
	quick      bool
	appendTime bool
	lasting    bool
}

// scenario narrows what a seed may choose.
type scenario struct {
	name string
	// must and may are families that are there for certain and perhaps.
	must, may family
	settle    int  // 1 + kafka.Settle; 0: any
	spool     int  // 1: none, 2: one; 0: either
	topics    int  // main topics; 0: one
	narrow    bool // one partition, one source, twice the steps
	quick     bool // little memory, and little time between two steps
	few       bool // two to four families, which a seed draws from all
	// appendTime: the topics keep the broker's time. An answer to a resend does not give away there that it is about
	// another batch.
	appendTime bool
	lasting    bool   // some troubles outlast the others
	frames     int    // that the spool's index has entries for; 0: many
	fault      string // what it is for
}

func newProfile(rng *rand.Rand, sc *scenario) profile {
	p := profile{
		settle: kafka.Settle(rng.IntN(3)), spool: rng.IntN(4) > 0,
		brokers: 1 + rng.IntN(3), partitions: 1 + rng.IntN(4), appenders: 1 + rng.IntN(2),
		steps: 40 + rng.IntN(160), medium: rng.IntN(6),
		codec:  []recordbatch.Codec{recordbatch.None, recordbatch.None, recordbatch.None, recordbatch.Snappy, recordbatch.LZ4}[rng.IntN(5)],
		linger: time.Duration(rng.IntN(3)) * 2 * time.Millisecond,
		batch:  recordbatch.ChunkSize, buffers: recordbatch.ChunkSize * int64(2+rng.IntN(5)),
		keepFree: int64(rng.IntN(2)) * 64 << 10,
	}
	for i := range drawn {
		if rng.IntN(4) == 0 {
			p.families |= 1 << i
		}
	}
	p.topics, p.appendTime, p.lasting, p.frames = max(1, sc.topics), sc.appendTime, sc.lasting, sc.frames
	if sc.narrow {
		p.partitions, p.appenders, p.steps = 1, 1, 2*p.steps
	}
	if sc.quick {
		p.quick, p.buffers, p.medium = true, 2*recordbatch.ChunkSize, 4+p.medium/2
	}
	if sc.settle != 0 {
		p.settle = kafka.Settle(sc.settle - 1)
	}
	if sc.spool != 0 {
		p.spool = sc.spool == 2
	}
	p.families = p.families&sc.may | sc.must
	if sc.few {
		p.drawFew(rng)
	}
	if !p.spool {
		p.families &^= slowDisk | brokenDisk | fullDisk | squeezed | lateSpool | powerLoss | drops
	}
	if p.has(squeezed) {
		p.keepFree = 64 << 10
	}
	if p.has(drops) {
		p.policy = kafka.SpoolFull(1 + rng.IntN(2))
	}
	if p.has(forgotten) {
		p.expiry = time.Second << rng.IntN(4)
	}
	return p
}

// drawFew draws two to four families, and how many topics there are. What restarts find of damaged frames is counted by frame, not by
// event, and dead letters for a partition that the topic of another cluster does not have may wait for the next start
// (docs/guarantees.md): the oracle cannot judge that.
func (p *profile) drawFew(rng *rand.Rand) {
	for range 2 + rng.IntN(3) {
		p.families |= 1 << rng.IntN(len(familyNames))
	}
	if p.has(damage) {
		p.families &^= kills | powerLoss | restarts
	}
	if p.has(otherCluster) {
		p.families &^= deadLetters | contents | noDeadTopic
	}
	p.spool = p.spool || p.has(slowDisk|brokenDisk|fullDisk|squeezed|lateSpool|powerLoss|drops|damage)
	p.topics = 1 + rng.IntN(3)
}

func (p *profile) has(f family) bool { return p.families&f != 0 }
