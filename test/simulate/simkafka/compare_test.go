package simkafka_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/simulate/simkafka"
)

// send is one batch of the script, of records with a key and a small value, and made now.
type send struct {
	what  string
	p     string // the producer; "": none
	epoch int16
	seq   int32
	n     int // records; 0: one
	topic string
	// How the batch differs from a plain one.
	age       time.Duration // of its records; negative: they are from the future
	timeless  bool
	keyless   bool
	every     int // so many records apart keyless and age hold, from the first on; 0: for all
	size      int // of its last value
	partition int32
	spoil     func(wire []byte)
	set       [2]string // a setting of the topic that is changed before
	want      int16     // the code that both must answer
}

// script is what both brokers are asked, one after the other. Topics exist and are empty at first, and keep the
// producer's timestamps unless their name says otherwise.
var script = []send{
	{what: "in order", topic: "order", p: "a", seq: 0, n: 2},
	{what: "in order", topic: "order", p: "a", seq: 2},
	{what: "sent again", topic: "order", p: "a", seq: 2},
	{what: "the one before, sent again", topic: "order", p: "a", seq: 0, n: 2},
	{what: "other bytes under a stamp that was used", topic: "order", p: "a", seq: 2, age: time.Minute},
	{what: "a gap", topic: "order", p: "a", seq: 10, want: simkafka.CodeOutOfOrderSequence},
	{what: "more records than the first time", topic: "order", p: "a", seq: 2, n: 2, want: simkafka.CodeOutOfOrderSequence},
	{what: "fewer records than the first time", topic: "order", p: "a", seq: 0, want: simkafka.CodeOutOfOrderSequence},
	{what: "in order", topic: "order", p: "a", seq: 3},
	{what: "in order", topic: "order", p: "a", seq: 4},
	{what: "in order", topic: "order", p: "a", seq: 5},
	{what: "the oldest of the last five, sent again", topic: "order", p: "a", seq: 0, n: 2},
	{what: "in order", topic: "order", p: "a", seq: 6},
	{what: "older than the last five, sent again", topic: "order", p: "a", seq: 0, n: 2, want: simkafka.CodeOutOfOrderSequence},
	{what: "an unknown producer that begins at 5", topic: "order", p: "b", seq: 5},
	{what: "sent again", topic: "order", p: "b", seq: 5},
	{what: "the first producer goes on", topic: "order", p: "a", seq: 7},
	{what: "no producer id", topic: "order", seq: -1},
	{what: "no producer id, sent again", topic: "order", seq: -1},
	{what: "a producer id and no sequence", topic: "order", p: "a", seq: -1, want: simkafka.CodeInvalidRecord},

	{what: "a new epoch that does not begin at 0", topic: "order", p: "a", epoch: 1, seq: 8, want: simkafka.CodeOutOfOrderSequence},
	{what: "a new epoch", topic: "order", p: "a", epoch: 1, seq: 0},
	{what: "a new epoch, sent again", topic: "order", p: "a", epoch: 1, seq: 0},
	{what: "the old epoch goes on", topic: "order", p: "a", seq: 8, want: simkafka.CodeInvalidEpoch},
	{what: "the old epoch, sent again", topic: "order", p: "a", seq: 7, want: simkafka.CodeInvalidEpoch},
	{what: "the new epoch goes on", topic: "order", p: "a", epoch: 1, seq: 1},
	{what: "an epoch is left out", topic: "order", p: "a", epoch: 5, seq: 0},

	{what: "the last sequence", topic: "wrap", p: "a", seq: 1<<31 - 1},
	{what: "the sequence after it", topic: "wrap", p: "a", seq: 0},
	{what: "in order", topic: "wrap", p: "a", seq: 1},
	{what: "an unknown producer, across the end", topic: "wrap", p: "b", seq: 1<<31 - 2, n: 4},
	{what: "sent again", topic: "wrap", p: "b", seq: 1<<31 - 2, n: 4},
	{what: "in order", topic: "wrap", p: "b", seq: 2},

	{what: "small enough", topic: "size", p: "a", seq: 0, size: 2000},
	{what: "too large", topic: "size", p: "a", seq: 1, size: 5000, set: [2]string{"max.message.bytes", "3000"}, want: simkafka.CodeMessageTooLarge},
	{what: "too large now, and in the log", topic: "size", p: "a", seq: 0, size: 2000, set: [2]string{"max.message.bytes", "1000"}, want: simkafka.CodeMessageTooLarge},
	{what: "the sequence of what was refused, smaller", topic: "size", p: "a", seq: 1},
	{what: "in the log, and allowed again", topic: "size", p: "a", seq: 0, size: 2000, set: [2]string{"max.message.bytes", "1000000"}},

	{what: "a wrong checksum", topic: "bytes", p: "a", seq: 0, spoil: func(w []byte) { w[len(w)-1]++ }, want: simkafka.CodeCorruptMessage},
	{what: "more records in the header than there are", topic: "bytes", p: "a", seq: 0, n: 2, spoil: moreRecords, want: simkafka.CodeInvalidRecord},
	{what: "the same sequence, good", topic: "bytes", p: "a", seq: 0},

	{what: "an old record, any age is allowed", topic: "time", p: "a", seq: 0, age: time.Hour},
	{what: "too old", topic: "time", p: "a", seq: 1, age: time.Hour, set: [2]string{"message.timestamp.before.max.ms", "600000"}, want: simkafka.CodeInvalidTimestamp},
	{what: "too old now, and in the log", topic: "time", p: "a", seq: 0, age: time.Hour, want: simkafka.CodeInvalidTimestamp},
	{what: "the sequence of what was refused, of now", topic: "time", p: "a", seq: 1},
	{what: "too far in the future", topic: "time", p: "a", seq: 2, age: -2 * time.Hour, want: simkafka.CodeInvalidTimestamp},
	{what: "a little in the future", topic: "time", p: "a", seq: 2, age: -30 * time.Minute},
	{what: "without a timestamp", topic: "time", p: "a", seq: 3, timeless: true},

	{what: "the broker's time", topic: "append-time", p: "a", seq: 0},
	{what: "the broker's time, sent again", topic: "append-time", p: "a", seq: 0},
	{what: "the broker's time, too old otherwise", topic: "append-time", p: "a", seq: 1, age: time.Hour, set: [2]string{"message.timestamp.before.max.ms", "600000"}},
	{what: "the producer's time again, too old", topic: "append-time", p: "a", seq: 2, age: time.Hour, set: [2]string{"message.timestamp.type", "CreateTime"}, want: simkafka.CodeInvalidTimestamp},
	{what: "the producer's time again", topic: "append-time", p: "a", seq: 2},

	{what: "a record without a key", topic: "compact", p: "a", seq: 0, keyless: true},
	{what: "without a key, refused now", topic: "compact", p: "a", seq: 1, keyless: true, set: [2]string{"cleanup.policy", "compact"}, want: simkafka.CodeInvalidRecord},
	{what: "refused now, and in the log", topic: "compact", p: "a", seq: 0, keyless: true, want: simkafka.CodeInvalidRecord},
	{what: "the sequence of what was refused, with a key", topic: "compact", p: "a", seq: 1},

	{what: "every other record without a key", topic: "compact", p: "a", seq: 2, n: 5, keyless: true, every: 2, want: simkafka.CodeInvalidRecord},
	{what: "a record without a key, and too old", topic: "compact", p: "a", seq: 2, n: 3, keyless: true, every: 2, age: time.Hour, set: [2]string{"message.timestamp.before.max.ms", "600000"}, want: simkafka.CodeInvalidRecord},
	{what: "some records too old", topic: "compact", p: "a", seq: 2, n: 4, every: 3, age: time.Hour, want: simkafka.CodeInvalidTimestamp},
	{what: "the same sequence, good", topic: "compact", p: "a", seq: 2, n: 4},

	{what: "a partition that is not there", topic: "order", p: "a", partition: 7, want: simkafka.CodeUnknownTopic},
	{what: "a topic that is not there", topic: "never", p: "a", want: simkafka.CodeUnknownTopic},
}

// moreRecords makes the header's count one too high, under a good checksum.
func moreRecords(w []byte) {
	binary.BigEndian.PutUint32(w[61:], binary.BigEndian.Uint32(w[61:])+1)
	binary.BigEndian.PutUint32(w[21:], crc32.Checksum(w[25:], crc32.MakeTable(crc32.Castagnoli)))
}

// asked is a broker with what the script has come to know of it.
type asked struct {
	broker
	ids  map[string]int64
	told map[string]int64 // append times by topic and stamp
}

func (b *asked) id(t *testing.T, name string) int64 {
	t.Helper()
	if name == "" {
		return -1
	}
	if _, ok := b.ids[name]; !ok {
		poll(t, "a producer id", func() bool { // a broker that has just started has none yet
			res := b.ask(t, &initproducerid.Request{ProducerID: -1, ProducerEpoch: -1}).(*initproducerid.Response)
			b.ids[name] = res.ProducerID
			return res.ErrorCode == 0
		})
	}
	return b.ids[name]
}

// answer is what a broker says, in words that do not depend on its clock.
type answer struct {
	code   int16
	offset int64
	time   string
	named  string // the records that are the reason
}

func (a answer) String() string {
	return fmt.Sprintf("code %d, offset %d, append time %s, records %s", a.code, a.offset, a.time, a.named)
}

func (b *asked) send(t *testing.T, s *send) answer {
	t.Helper()
	if s.set[0] != "" {
		b.set(t, s.topic, s.set[0], s.set[1])
		// A broker learns of it a moment later. A batch with a gap in front is refused for the gap or for the setting.
		probe, want := *s, s.want
		probe.set, probe.seq = [2]string{}, s.seq+1000
		if want == simkafka.CodeOK {
			want = simkafka.CodeOutOfOrderSequence
		}
		poll(t, fmt.Sprint(s.topic, ": ", s.set), func() bool { return b.send(t, &probe).code == want })
	}
	ts := time.Now().Add(-s.age).UnixMilli()
	if s.timeless {
		ts = recordbatch.NoTimestamp
	}
	rb := recordbatch.NewPrivateBatch(s.size + 4096)
	for i := range max(s.n, 1) {
		key, value, ts := []byte("k"), []byte("v"), ts
		if s.every != 0 && i%s.every != 0 {
			ts = time.Now().UnixMilli()
		} else if s.keyless {
			key = nil
		}
		if i == max(s.n, 1)-1 {
			value = make([]byte, max(s.size, 1))
		}
		if !rb.TryAppend(ts, key, value, nil) {
			t.Fatal("a batch is too small")
		}
	}
	rb.Stamp(b.id(t, s.p), s.epoch, s.seq)
	wire := rb.AppendTo(nil)
	if s.spoil != nil {
		s.spoil(wire)
	}
	p := b.produce(t, s.topic, s.partition, wire)
	a := answer{p.ErrorCode, p.BaseOffset, "of the broker", ""}
	for _, e := range p.RecordErrors {
		a.named += fmt.Sprint(" ", e.BatchIndex)
	}
	stamp := fmt.Sprint(s.topic, s.p, s.epoch, s.seq)
	first, again := b.told[stamp]
	switch {
	case p.LogAppendTime < 0:
		a.time = "none"
		if p.ErrorCode == 0 && !again && s.p != "" {
			b.told[stamp] = ts // the answer to a duplicate tells the time of what is in the log
		}
	case again && p.LogAppendTime == first:
		a.time = "of the batch in the log"
	case !again:
		b.told[stamp] = p.LogAppendTime
	}
	return a
}

// TestModelAnswersAsKafkaDoes asks the model and a broker of Apache Kafka the same and compares the answers.
func TestModelAnswersAsKafkaDoes(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.WithProperty("producer.id.expiration.check.interval.ms", "100"))
	both := [2]*asked{}
	for i, b := range []broker{newModel(), dial(t, c.Bootstrap())} {
		both[i] = &asked{b, map[string]int64{}, map[string]int64{}}
		for _, topic := range []string{"order", "wrap", "size", "bytes", "time", "compact", "gone", "expired", "old", "timeless"} {
			b.create(t, topic, nil)
		}
		b.create(t, "append-time", map[string]string{"message.timestamp.type": "LogAppendTime"})
	}
	compare := func(s *send) {
		t.Helper()
		m, r := both[0].send(t, s), both[1].send(t, s)
		same := "same"
		if m != r {
			same = "DIFFERENT"
			t.Errorf("%s, %s: the model answers %v; Kafka answers %v", s.topic, s.what, m, r)
		} else if m.code != s.want {
			t.Errorf("%s, %s: both answer %v, want code %d", s.topic, s.what, m, s.want)
		}
		t.Logf("| %s | %s | %v | %v | %s |", s.topic, s.what, m, r, same)
	}
	for i := range script {
		compare(&script[i])
	}

	compare(&send{what: "before the topic is deleted", topic: "gone", p: "a", seq: 0})
	compare(&send{what: "before the topic is deleted", topic: "gone", p: "a", seq: 1})
	for _, b := range both {
		b.drop(t, "gone")
	}
	compare(&send{what: "after the topic was deleted", topic: "gone", p: "a", seq: 2, want: simkafka.CodeUnknownTopic})
	for _, b := range both {
		b.create(t, "gone", nil)
	}
	compare(&send{what: "the topic is made anew, the producer goes on", topic: "gone", p: "a", seq: 2})

	compare(&send{what: "before the producer is forgotten", topic: "expired", p: "a", seq: 0})
	compare(&send{what: "a gap while the producer is known", topic: "expired", p: "a", seq: 8, want: simkafka.CodeOutOfOrderSequence})
	for _, b := range both {
		b.expire(t, time.Second)
		poll(t, "the producer is forgotten", func() bool {
			return b.send(t, &send{topic: "expired", p: "a", seq: 8}).code == simkafka.CodeOK
		})
		b.expire(t, 24*time.Hour)
	}
	compare(&send{what: "the batch that came after the gap, sent again", topic: "expired", p: "a", seq: 8})
	compare(&send{what: "the forgotten batch, sent again", topic: "expired", p: "a", seq: 0, want: simkafka.CodeOutOfOrderSequence})
	compare(&send{what: "in order behind the gap", topic: "expired", p: "a", seq: 9})

	// A broker takes the newest time in a producer's newest batch for when it wrote last.
	for topic, s := range map[string]send{"old": {age: 25 * time.Hour}, "timeless": {timeless: true}} {
		s.topic, s.p, s.what = topic, "a", "old, or without a time"
		compare(&s)
		for _, b := range both {
			poll(t, "the producer is forgotten", func() bool {
				return b.send(t, &send{topic: topic, p: "a", seq: 8}).code == simkafka.CodeOK
			})
		}
		s.what, s.want = "the forgotten batch, sent again", simkafka.CodeOutOfOrderSequence
		compare(&s)
		compare(&send{what: "in order behind the gap", topic: topic, p: "a", seq: 9})
	}
}
