package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// TestRandomFaultsLoseAndDoubleNothing runs the sink against three brokers that fail in every way, with
// random buffers, sizes and flushes, and compares the topics with what was appended. From the fourth seed on
// it has a spool.
func TestRandomFaultsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			newModel(t, seed).run()
		})
	}
}

// model is one run.
type model struct {
	*testing.T
	seed    uint64
	c       *kfake.Cluster
	s       *Sink
	renewed atomic.Bool                   // a code that loses producer state was answered
	faults  atomic.Int64                  // so far; modelFaults at most
	slow    atomic.Pointer[chan struct{}] // closed to let a slow answer go

	mu   sync.Mutex
	want map[string][]string // by key, in order
	dead map[string]bool     // dead letters, by value
	may  map[string]bool     // records that were refused alone: they may be dead letters, in the log, or both
	acks []*ackCount
}

const (
	modelAppends = 250 // calls of Append of each of the two appenders
	modelFaults  = 60
	modelLimit   = 40_000
	deadlyMark   = "refuse me"
)

func newModel(t *testing.T, seed uint64) *model {
	m := &model{T: t, seed: seed, want: map[string][]string{}, dead: map[string]bool{}, may: map[string]bool{}}
	rng := rand.New(rand.NewPCG(seed, 1))
	m.c = cluster(t, 5, kfake.NumBrokers(3), kfake.BrokerConfigs(map[string]string{"message.max.bytes": fmt.Sprint(modelLimit)}))
	m.c.ControlKey(0, m.answer(rand.New(rand.NewPCG(seed, 2))))
	m.s = start(t, m.c, func(cfg *Config, d *Deps) {
		cfg.Codec = []recordbatch.Codec{recordbatch.None, recordbatch.Snappy, recordbatch.LZ4}[rng.IntN(3)]
		cfg.BatchBytes = recordbatch.ChunkSize * (1 + rng.IntN(4))
		cfg.BufferBytes = int64(cfg.BatchBytes * (2 + rng.IntN(8)))
		cfg.OversizeBytes = int64(1 + rng.IntN(100_000))
		cfg.Linger = time.Duration(rng.IntN(3)) * time.Millisecond
		cfg.RequestTimeout = 250 * time.Millisecond
		cfg.StuckPartition = StuckBlock // on a slow machine a partition may seem to be stuck, and its events became dead letters
		d.Logger = nil
		d.Dial = m.dial(rand.New(rand.NewPCG(seed, 3)))
		d.SetAside = func(raw []byte, _ [32]byte) error { return nil }
		if seed >= 4 {
			cfg.Settle = []Settle{SettleOnKafka, SettleOnDisk, SettleAtOnce}[seed%3]
			d.OpenSpool = openTestSpool(t, t.TempDir(), 64<<20)
			d.fastSync = speed(rng.IntN(2) == 0)
		}
	})
	return m
}

// fault says whether one more fault may be.
func (m *model) fault() bool { return m.faults.Add(1) <= modelFaults }

// answer fails every fourth produce request: refused by any code, cut, or too slow.
func (m *model) answer(rng *rand.Rand) func(kmsg.Request) (kmsg.Response, error, bool) {
	codes := []*kerr.Error{
		kerr.CorruptMessage, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.RequestTimedOut,
		kerr.NetworkException, kerr.NotEnoughReplicas, kerr.KafkaStorageError, kerr.UnknownServerError, kerr.MessageTooLarge,
		kerr.TopicAuthorizationFailed, kerr.FencedLeaderEpoch, kerr.ThrottlingQuotaExceeded,
	}
	if m.seed%2 == 1 {
		codes = append(codes, kerr.OutOfOrderSequenceNumber, kerr.InvalidProducerEpoch, kerr.UnknownProducerID)
	}
	return func(req kmsg.Request) (kmsg.Response, error, bool) {
		m.c.KeepControl()
		r := req.(*kmsg.ProduceRequest)
		verdicts := m.content(r)
		if old := m.slow.Swap(nil); old != nil {
			close(*old) // the answer is late: the request after it has come
		}
		if n := rng.IntN(24); n < 7 && m.fault() {
			switch n {
			case 0, 1:
				return nil, errors.New("cut"), true
			case 2:
				late := make(chan struct{})
				m.slow.Store(&late)
				m.c.SleepControl(func() { <-late })
			default:
				code := codes[rng.IntN(len(codes))].Code
				if code == kerr.MessageTooLarge.Code || code == kerr.CorruptMessage.Code {
					if m.mayBury(r) {
						code = kerr.NotLeaderForPartition.Code // a dead letter that its own topic refuses is dropped
					}
				}
				switch code {
				case 45, 47, 59, kerr.MessageTooLarge.Code, kerr.CorruptMessage.Code:
					m.renewed.Store(true) // taken apart or renewed after a lost answer: counted, not prevented
				}
				return answerAll(r, func(string, int32) int16 { return code }), nil, true
			}
		}
		if len(verdicts) == 0 {
			return nil, nil, false
		}
		// The whole request is answered here, so the good partitions in it are not appended either.
		return answerAll(r, func(topic string, p int32) int16 {
			if code := verdicts[place{topic, p}]; code != 0 {
				return code
			}
			return kerr.NotLeaderForPartition.Code
		}), nil, true
	}
}

type place struct {
	topic     string
	partition int32
}

// content finds the batches whose content is refused.
func (m *model) content(r *kmsg.ProduceRequest) map[place]int16 {
	var out map[place]int16
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			refused := false
			eachValue(p.Records, func(v string) { refused = refused || t.Topic == "t" && strings.Contains(v, deadlyMark) })
			if refused {
				if out == nil {
					out = map[place]int16{}
				}
				out[place{t.Topic, p.Partition}] = kerr.InvalidRecord.Code
			}
		}
	}
	return out
}

// mayBury notes the records of r that are alone in their batches, and reports whether one is a dead letter.
func (m *model) mayBury(r *kmsg.ProduceRequest) (deadLetter bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			var values []string
			eachValue(p.Records, func(v string) { values = append(values, v) })
			if len(values) == 1 && t.Topic == "t" {
				m.may[values[0]] = true
			}
			deadLetter = deadLetter || len(values) == 1 && t.Topic != "t"
		}
	}
	return deadLetter
}

// eachValue reads the values of a record batch as a produce request carries it.
func eachValue(records []byte, yield func(string)) {
	recordbatch.Decode(append(binary.BigEndian.AppendUint32(nil, uint32(len(records))), records...), 1<<24,
		func(_ int64, _, value []byte, _ []sink.Header) bool {
			yield(string(value))
			return true
		})
}

func answerAll(r *kmsg.ProduceRequest, code func(string, int32) int16) *kmsg.ProduceResponse {
	res := r.ResponseKind().(*kmsg.ProduceResponse)
	res.Version = r.Version
	for _, t := range r.Topics {
		rt := kmsg.ProduceResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.ProduceResponseTopicPartition{Partition: p.Partition, ErrorCode: code(t.Topic, p.Partition)})
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// dial makes connections that lose an answer now and then.
func (m *model) dial(rng *rand.Rand) func(context.Context, string, string) (net.Conn, error) {
	var mu sync.Mutex
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &brittle{Conn: nc, cut: func() bool {
			mu.Lock()
			defer mu.Unlock()
			return rng.IntN(60) == 0 && m.fault()
		}}, err
	}
}

type brittle struct {
	net.Conn
	cut func() bool
}

func (b *brittle) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if err == nil && b.cut() {
		b.Conn.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// noise is text that no codec makes smaller than the limit.
func noise(rng *rand.Rand, n int) string {
	p := make([]byte, 3*n/2)
	for i := range p {
		p[i] = byte(' ' + rng.IntN(94))
	}
	return string(p)
}

// appender appends records of keys of its own and dead letters, flushes, and moves leaders.
func (m *model) appender(id int) {
	rng := rand.New(rand.NewPCG(m.seed, uint64(10+id)))
	ctx := patient(m.T)
	for i := range modelAppends {
		ack := &ackCount{}
		recs := make([]sink.Record, 1+rng.IntN(20))
		dead := make(map[string]bool)
		want := make([]string, 0, len(recs))
		for j := range recs {
			key := fmt.Sprintf("%d-%d", id, rng.IntN(9))
			v := fmt.Sprintf("%s %d %d %s", key, i, j, strings.Repeat("v", rng.IntN(300)))
			switch rng.IntN(400) {
			case 0:
				v += noise(rng, modelLimit+rng.IntN(20_000)) // only the dead-letter topic takes it
				dead[v] = true
			case 1:
				v += deadlyMark
				dead[v] = true
			case 2:
				v += strings.Repeat("u", recordbatch.ChunkSize)
			}
			recs[j] = sink.Record{Key: []byte(key), Value: []byte(v), Timestamp: 1}
			want = append(want, key)
		}
		m.mu.Lock()
		m.acks = append(m.acks, ack)
		for j, key := range want {
			if v := string(recs[j].Value); dead[v] {
				m.dead[v] = true
			} else {
				m.want[key] = append(m.want[key], v)
			}
		}
		m.mu.Unlock()
		if n, err := m.s.Append(ctx, recs, ack); err != nil || n != len(recs) {
			m.Errorf("append: %d of %d, %v", n, len(recs), err)
			return
		}
		switch rng.IntN(12) {
		case 0:
			m.s.Flush()
		case 1:
			v := fmt.Sprintf("dead %d %d", id, i)
			m.mu.Lock()
			m.dead[v] = true
			m.mu.Unlock()
			if err := m.s.DeadLetter(ctx, &sink.DeadLetter{Raw: []byte(v), Reason: "bad_value"}, ack); err != nil {
				m.Errorf("dead letter: %v", err)
				return
			}
		case 2:
			if m.fault() {
				m.c.MoveTopicPartition("t", int32(rng.IntN(5)), int32(rng.IntN(3)))
			}
		}
	}
}

func (m *model) run() {
	setTopicConfig(m.T, m.c, "t.dlq", "max.message.bytes", "1000000")
	var wg sync.WaitGroup
	for id := range 2 {
		wg.Go(func() { m.appender(id) })
	}
	asked := make(chan struct{})
	var asker sync.WaitGroup
	asker.Go(func() { m.ask(asked) })
	defer asker.Wait()
	defer close(asked)
	late := time.AfterFunc(20*time.Second, func() { m.Log(dump(m.s)) }) // a hang is told apart by this
	defer late.Stop()
	wg.Wait()
	st := closeSink(m.T, m.s)
	if old := m.slow.Swap(nil); old != nil {
		close(*old)
	}
	for _, a := range m.acks {
		a.check(m.T, 0)
	}
	n := 0
	for _, w := range m.want {
		n += len(w)
	}
	if m.faults.Load() < 10 {
		m.Errorf("only %d faults", m.faults.Load())
	}
	if st.Delivered+st.DeadLettered != int64(n+len(m.dead)) || st.DeadLettered < int64(len(m.dead)) || len(st.Dropped) != 0 || st.SetAside != 0 || st.Spooled != 0 || m.spooled() {
		m.Errorf("stats %+v, want %d delivered, %d dead-lettered", st, n, len(m.dead))
	}
	if st.PossibleDuplicates != 0 && !m.renewed.Load() && m.s.Metrics().Splits == 0 {
		m.Errorf("%d possible duplicates", st.PossibleDuplicates)
	}
	m.check(m.read("t"), m.read("t.dlq"), st.PossibleDuplicates)
	if got := m.s.topics[0].held + m.s.dead.held; got != 0 || m.s.topics[0].batches != 0 || m.s.dead.batches != 0 {
		m.Errorf("%d bytes held, %d and %d batches", got, m.s.topics[0].batches, m.s.dead.batches)
	}
}

// ask asks the sink for all that it tells, again and again: the race detector tells if an answer is read while it is
// written.
func (m *model) ask(end <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		in := m.s.Inside(10)
		for _, p := range in.Partitions {
			if p.Waiting < 0 || p.Spooled < 0 {
				m.Errorf("a partition that has less than nothing: %+v", p)
				return
			}
		}
		m.s.Stats()
		m.s.Metrics()
		m.s.Delivery()
		_ = m.s.Ready()
	}
}

// spooled says that a frame is left.
func (m *model) spooled() bool {
	for l := range m.s.lanes() {
		if l.disk.q != nil && l.disk.q.Tail() != 0 {
			return true
		}
	}
	return false
}

// check compares the topics with what was appended. Only events that were counted as possible duplicates
// may be there twice, and then in place: one copy after the other, batch by batch.
func (m *model) check(main, dead []*kgo.Record, possible int64) {
	got := map[string][]string{}
	seen := map[string]bool{}
	for _, r := range main {
		v := string(r.Value)
		if seen[v] {
			possible--
			continue
		}
		seen[v] = true
		got[string(r.Key)] = append(got[string(r.Key)], v)
	}
	buried := map[string]bool{}
	for _, r := range dead {
		v := string(r.Value)
		if buried[v] || seen[v] {
			possible--
		}
		buried[v] = true
		if !m.dead[v] && !m.may[v] {
			m.Errorf("dead letter %.40q was not refused", v)
		}
	}
	for v := range m.dead {
		if !buried[v] {
			m.Errorf("dead letter %.40q is missing", v)
		}
	}
	for key, want := range m.want {
		want = slices.DeleteFunc(slices.Clone(want), func(v string) bool { return buried[v] && !seen[v] })
		if !slices.Equal(got[key], want) {
			m.Errorf("key %s: %d records, want %d in the order of their appends", key, len(got[key]), len(want))
		}
	}
	if possible < 0 {
		m.Errorf("%d records are doubled and were not counted", -possible)
	}
}

// read reads a whole topic.
func (m *model) read(topic string) []*kgo.Record {
	total := 0
	for _, p := range m.c.PartitionInfos(topic) {
		total += int(p.HighWatermark)
	}
	return consume(m.T, m.c, topic, total)
}
