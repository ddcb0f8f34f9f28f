package simulate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/simulate/simkafka"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
)

const (
	mainTopic = "t"
	deadTopic = "t.dlq"
)

// mainTopics are the topics of events; a scenario has the first ones of them.
var mainTopics = []string{mainTopic, "t2", "t3"}

// oracle knows every event, what its source was told, and where it has arrived.
type oracle struct {
	mu      sync.Mutex
	events  []*event
	last    map[string]*event // by topic and key: the newest one that has arrived
	doubled map[log]int64     // copies beyond the first
	doubles int64             // for each topic of a cluster those in the log that has most of them
	strict  bool              // keys keep their order across processes too
	late    bool              // a spool may be opened after the partitions are known, and in use
	frail   bool              // syncs fail: frames that were placed may be placed again by another process, behind newer ones
	settle  kafka.Settle
	life    int              // of the process that runs
	shrunk  map[string]int   // how often a process has found a topic with fewer partitions
	counts  map[string][]int // how many each topic had, one after the other, when it was found so first, or with more
	found   map[string]bool  // topics that this process has found
	bad     string           // the first violation

	// expiry is when brokers forget a producer; 0: not in this schedule. Until a broker has told the process, at toldAt, it
	// assumes a day, and does not count the copies that come of it; nor late ones of a producer that was forgotten (docs/guarantees.md).
	expiry time.Duration
	told   bool
	toldAt time.Time
	onWay  time.Duration // how long the request that is served now has been on its way, which a process cannot know

	// drops: events may be given up for want of room, also in doubt: a late copy of one comes behind what followed it, and so does
	// one that another process finds, because its end was not on disk, or not yet that of all of its frame.
	drops   bool
	damaged bool // the same for late copies where the disk damages frames
}

// log is what a topic of a cluster holds until it is made anew.
type log struct {
	cluster, topic string
	incarnation    int
}

// event is one record or dead letter that was given to the sink.
type event struct {
	id     int
	topic  string // where it belongs, if it is not given as a dead letter
	key    string // "": keyless
	n      int    // number within the key
	moves  int    // how often the topic had got fewer partitions when it was appended
	counts int    // of counts of its topic, which was the last when it came
	life   int
	dead   bool // given as a dead letter
	taken  bool // by Append
	acked  bool
	bare   bool // it was in memory while the spool could not be used, so it may have been sent without a frame
	lost   bool // the ack said so
	// refused: a broker has said that it refuses it, so it is on its way to the dead letters and what follows it goes on.
	// Taken later all the same, after a kill, it comes behind that (docs/guarantees.md).
	refused bool
	main    int   // copies in the topic
	at      int32 // partition of the first of them
	bury    int   // copies in the dead-letter topic
	logs    []log // that it is in
}

func (e *event) arrived() bool { return e.main+e.bury > 0 }

func (e *event) String() string {
	return fmt.Sprintf("event %d (for %s, key %q number %d, process %d, dead letter %v: taken %v, acked %v, lost %v, %d copies in the topic, %d in the dead letters)",
		e.id, e.topic, e.key, e.n, e.life, e.dead, e.taken, e.acked, e.lost, e.main, e.bury)
}

func newOracle(settle kafka.Settle, strict bool) *oracle {
	return &oracle{last: map[string]*event{}, doubled: map[log]int64{}, shrunk: map[string]int{}, counts: map[string][]int{}, found: map[string]bool{}, settle: settle, strict: strict}
}

func (o *oracle) violate(format string, args ...any) {
	if o.bad == "" {
		o.bad = fmt.Sprintf(format, args...)
	}
}

// add makes an event. The value of its record begins with its id.
func (o *oracle) add(topic, key string, n, life int, dead bool) *event {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := &event{id: len(o.events), topic: topic, key: key, n: n, moves: o.shrunk[topic], counts: max(0, len(o.counts[topic])-1), life: life, dead: dead}
	o.events = append(o.events, e)
	return e
}

func (e *event) value(size int) []byte {
	v := append(make([]byte, 0, size+16), 'e')
	v = append(strconv.AppendInt(v, int64(e.id), 10), ' ')
	for len(v) < size {
		v = append(v, "abcdefghijklmnopqrstuvwxyz"[:min(26, size-len(v))]...)
	}
	return v
}

// eventOf finds the event of a record; nil for what the sink wrote by itself.
func (o *oracle) eventOf(value []byte) *event {
	if len(value) == 0 || value[0] != 'e' {
		return nil
	}
	digits, _, ok := strings.Cut(string(value[1:min(len(value), 16)]), " ")
	id, err := strconv.Atoi(digits)
	if !ok || err != nil || id >= len(o.events) {
		return nil
	}
	return o.events[id]
}

// answered notes which events an answer says are refused, and how many partitions a process finds.
func (o *oracle) answered(c *simkafka.Call, msg protocol.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if res, ok := msg.(*metadata.Response); ok {
		for i := range res.Topics {
			o.finds(res.Topics[i].Name, len(res.Topics[i].Partitions))
		}
	}
	res, ok := msg.(*produce.Response)
	if !ok {
		return
	}
	n := 0
	for i := range res.Topics {
		for _, p := range res.Topics[i].Partitions {
			b := &c.Batches[n].Batch
			n++
			if p.ErrorCode != simkafka.CodeMessageTooLarge && p.ErrorCode != simkafka.CodeInvalidRecord {
				continue
			}
			named, at := map[int32]bool{}, int32(0)
			for _, r := range p.RecordErrors {
				named[r.BatchIndex] = true
			}
			_ = recordbatch.Decode(b.Wire, recordbatch.MaxRecordsBytes, func(_ int64, _, value []byte, _ []sink.Header) bool {
				if e := o.eventOf(value); e != nil && (b.Count == 1 || named[at]) {
					e.refused = true
				}
				at++
				return true
			})
		}
	}
}

// appended is the cluster's OnAppend.
func (o *oracle) appended(cluster, topic string, incarnation int, partition int32, b *simkafka.Batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := recordbatch.Decode(b.Wire, recordbatch.MaxRecordsBytes, func(_ int64, key, value []byte, _ []sink.Header) bool {
		e := o.eventOf(value)
		if e == nil {
			if topic != deadTopic && string(key) != foreignKey {
				o.violate("a record in the topic is no event: %.40q", value)
			}
			return true
		}
		o.arrive(e, log{cluster, topic, incarnation}, partition, b.Forgotten)
		return true
	})
	if err != nil {
		o.violate("the broker took a batch that cannot be read: %v", err)
	}
}

// arrive counts a copy. A topic that was made anew is another one: the same request may arrive in both, and double what
// is there. Each of them has as many doubles as were counted, at most.
func (o *oracle) arrive(e *event, l log, partition int32, forgotten bool) {
	topic := l.topic
	switch {
	case !slices.Contains(e.logs, l):
		e.logs = append(e.logs, l)
	case !forgotten, o.onWay == 0 && (o.expiry == 0 || o.told && time.Since(o.toldAt) > requestTimeout):
		o.double(l) // else the process could not know it
	}
	if topic == deadTopic {
		e.bury++
		return
	}
	e.main++
	if e.dead {
		o.violate("a dead letter is in the topic: %v", e)
	}
	if e.topic != topic {
		o.violate("in topic %s, where it does not belong: %v", topic, e)
	}
	if e.main > 1 || e.key == "" || e.refused || e.bury > 0 || o.drops && (o.onWay > 0 || e.life < o.life) || o.damaged && o.onWay > 0 {
		return
	}
	e.at = partition
	key := e.topic + "/" + e.key
	last := o.last[key]
	if last != nil && last.n > e.n && (o.strict || last.life == e.life) && !o.leftBehind(e) && !o.moved(e, last) && !(e.life < o.life && (o.frail || o.late && o.keyMoves(e))) {
		o.violate("out of order: %v arrives after %v", e, last)
	}
	if last == nil || last.n < e.n {
		o.last[key] = e
	}
}

// moved reports whether the key of e may have moved before last, which came later and arrived sooner, had a partition: there
// are fewer partitions since e came, and the key has not the same one by all counts. Then e waited where the key was, and was
// overtaken (docs/guarantees.md). They are in two partitions, unless the one in which e waited is gone too.
func (o *oracle) moved(e, last *event) bool {
	since := o.shrunk[e.topic] - e.moves
	return o.keyMoves(e) && (since == 1 && e.at != last.at || since > 1)
}

// keyMoves reports whether the key of e has not the same partition by all counts since e came.
func (o *oracle) keyMoves(e *event) bool {
	counts := o.counts[e.topic][e.counts:]
	for _, n := range counts {
		if recordbatch.Partition([]byte(e.key), n) != recordbatch.Partition([]byte(e.key), counts[0]) {
			return true
		}
	}
	return false
}

// shrinks notes that a process places by n partitions from now on, which are fewer.
func (o *oracle) shrinks(topic string, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shrunk[topic]++
	o.counts[topic] = append(o.counts[topic], n)
}

// finds notes that a process is told of n partitions. If it is told so first, it places by them from now on, and says nothing
// where the process before had more.
func (o *oracle) finds(topic string, n int) {
	if n == 0 {
		return
	}
	first := !o.found[topic]
	o.found[topic] = true
	had := 0
	if counts := o.counts[topic]; len(counts) > 0 {
		had = counts[len(counts)-1]
	}
	if first && n < had {
		o.shrunk[topic]++
	}
	if first && n != had || n > had {
		o.counts[topic] = append(o.counts[topic], n)
	}
}

// leftBehind reports whether e may be a late copy out of a process that is gone, of a batch that was sent without a frame
// because the spool was not open yet or its disk failed, or whose frame went with the machine's power: nothing is left
// that could keep its order (docs/guarantees.md). One that was sent before the spool was open gets its frame at the end, behind
// all others.
func (o *oracle) leftBehind(e *event) bool {
	return e.bare && e.life < o.life && (o.settle != kafka.SettleOnDisk || !e.acked || o.late)
}

// loses notes that the machine has lost its power, and what is left on disk. The events of a frame that is not there any more
// may still be in a request that is on its way.
func (o *oracle) loses(left map[int]bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		if !left[e.id] && !e.arrived() && (o.settle != kafka.SettleOnDisk || !e.acked) {
			e.bare = true
		}
	}
}

// back notes that a call of the disk comes back. One that has taken a second was one that hung, perhaps between two checks.
func (o *oracle) back(k *parked) {
	if time.Since(k.at) < time.Second {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.strict = false // see check
	o.goesBare()
}

// goesBare notes that what a process has in memory now may be sent without a frame.
func (o *oracle) goesBare() {
	for i := len(o.events) - 1; i >= 0 && o.events[i].life == o.life; i-- {
		if e := o.events[i]; o.settle != kafka.SettleOnDisk || !e.acked {
			e.bare = true
		}
	}
}

// double counts a copy beyond the first.
func (o *oracle) double(l log) {
	most := func() (n int64) {
		for other, m := range o.doubled {
			if other.cluster == l.cluster && other.topic == l.topic {
				n = max(n, m)
			}
		}
		return n
	}
	before := most()
	o.doubled[l]++
	o.doubles += most() - before
}

// ack is one call's sink.Ack.
type ack struct {
	o          *oracle
	p          *process
	events     []*event
	held, done int
	lost       int
}

// Hold implements sink.Ack.
func (a *ack) Hold() {
	a.o.mu.Lock()
	a.held++
	a.o.mu.Unlock()
}

// Settle implements sink.Ack. What a process that is dead says, nobody hears.
func (a *ack) Settle(lost int) {
	o := a.o
	o.mu.Lock()
	defer o.mu.Unlock()
	if a.p.dead.Load() {
		return
	}
	a.done++
	a.lost += lost
	a.judge()
}

// returned ends the call's own part: n of its events were taken.
func (a *ack) returned(n int) {
	o := a.o
	o.mu.Lock()
	defer o.mu.Unlock()
	a.events = a.events[:n]
	for _, e := range a.events {
		e.taken = true
	}
	a.done++
	if !a.p.dead.Load() {
		a.judge()
	}
}

// judge looks whether everything is settled, and what that means. o.mu is held.
func (a *ack) judge() {
	o := a.o
	if a.done > a.held {
		o.violate("settled %d times, held %d times", a.done, a.held)
	}
	if a.done < a.held || len(a.events) == 0 {
		return
	}
	missing := 0
	var first *event
	for _, e := range a.events {
		e.acked, e.lost = a.lost == 0, a.lost > 0
		if !e.arrived() {
			missing, first = missing+1, e
		}
	}
	if o.settle != kafka.SettleOnDisk && missing > 0 && a.lost == 0 {
		o.violate("acknowledged and not in the log: %v", first)
	}
}

// begins notes that another process begins, which knows nothing of the brokers.
func (o *oracle) begins(life int, expiry time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.life, o.expiry, o.told = life, expiry, false
	clear(o.found)
}

// asksAnew notes that the process does not know when the brokers of now forget a producer.
func (o *oracle) asksAnew() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = false
}

// travels notes how long the request that is served next has been on its way.
func (o *oracle) travels(d time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.onWay = d
}

// hears notes what a process learns from an answer.
func (o *oracle) hears(req protocol.Message) {
	r, ok := req.(*describeconfigs.Request)
	if !ok || !slices.ContainsFunc(r.Resources, func(r describeconfigs.RequestResource) bool { return r.ResourceType == ofBroker }) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.told {
		o.told, o.toldAt = true, time.Now()
	}
}

// ofBroker is the type of a resource that is a broker (ConfigResource.Type.BROKER).
const ofBroker = 4
