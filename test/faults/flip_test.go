package faults

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

const (
	flipTopic      = "flips"
	flipPartitions = 3
	flipKeys       = 12
	flipRecords    = 600
)

// TestFlipAnyByte: one byte of the directory of a killed sink differs, anywhere, a thousand times; the sink
// starts on it, with an embedded broker, and delivers every frame but the one that was hit, whole, in order
// and once, and the one that was hit is in quarantine. (Package spool has the same test without a sink.)
func TestFlipAnyByte(t *testing.T) {
	seeds := 1000
	if !*all {
		seeds = 60
	}
	rng := rand.New(rand.NewPCG(1, 2))
	made, want := killedSink(t)
	kinds := map[string]int{}
	for seed := range seeds {
		fs := made.Kill()
		files := slices.DeleteFunc(fs.Names(), func(n string) bool { return len(fs.Bytes(n)) == 0 })
		f := flip{name: files[rng.IntN(len(files))], mask: byte(1 + rng.IntN(255))}
		f.at = rng.IntN(len(fs.Bytes(f.name)))
		kinds[f.deliver(t, made, want)]++
		if t.Failed() {
			t.Fatalf("seed %d: byte %d of %s, mask %02x", seed, f.at, f.name, f.mask)
		}
	}
	t.Logf("%d flips: %v", seeds, kinds)
	if kinds["a frame lost"] == 0 || kinds["nothing lost"] == 0 {
		t.Error("the flips hit only one kind of place")
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func flipCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(flipPartitions, flipTopic))
	must(t, err)
	return c
}

func flipSink(t *testing.T, c *kfake.Cluster, fs *spooltest.FS, open **spool.Spool) *kafka.Sink {
	t.Helper()
	s, err := kafka.New(kafka.Config{
		Brokers: c.ListenAddrs(), Topic: flipTopic, Linger: time.Millisecond, Settle: kafka.SettleOnDisk,
		RetryMin: time.Millisecond, RetryMax: 5 * time.Millisecond, RequestTimeout: 5 * time.Second,
	}, kafka.Deps{Logger: quiet(), OpenSpool: func() (diskqueue.Spool, error) {
		s, err := spool.Open(spool.Config{Dir: "/spool", MaxBytes: 16 << 20, SegmentBytes: 16 << 10}, spool.Deps{FS: fs, Boot: "1"})
		if err == nil && open != nil {
			*open = s
		}
		return s, err
	}})
	must(t, err)
	return s
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// killedSink is what the disk holds after a kill: frames that are done, frames that are not, and one in
// doubt in each partition. It returns the values of each key in order.
func killedSink(t *testing.T) (*spooltest.FS, map[string][]string) {
	t.Helper()
	fs := spooltest.New(1 << 30)
	c := flipCluster(t)
	defer c.Close()
	var requests atomic.Int64
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if requests.Add(1) <= 3 {
			return nil, nil, false
		}
		return nil, io.ErrUnexpectedEOF, true // the connection ends without an answer
	})
	s := flipSink(t, c, fs, nil)
	want := map[string][]string{}
	for i := range flipRecords {
		key := fmt.Sprintf("key-%02d", i%flipKeys)
		value := fmt.Sprintf(`{"traceId":%q,"n":"%06d","logs":%q}`, key, i, strings.Repeat("x", 20+i%300))
		want[key] = append(want[key], value)
		done := &waiter{done: make(chan struct{})}
		_, err := s.Append(t.Context(), []sink.Record{{Key: []byte(key), Value: []byte(value), Timestamp: time.Now().UnixMilli()}}, done)
		must(t, err)
		if i%8 == 7 { // a frame or a few for every eight
			<-done.done
		}
	}
	waitFor(t, "a batch in doubt", func() bool { return requests.Load() > 4 })
	killed := fs.Kill()
	s.Close(ended())
	return killed, want
}

// waiter is a sink.Ack for one record.
type waiter struct{ done chan struct{} }

func (w *waiter) Hold()      {}
func (w *waiter) Settle(int) { close(w.done) }

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("never saw %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

type flip struct {
	name string
	at   int
	mask byte
}

// deliver runs a sink on the damaged directory and says what the flip cost.
func (f flip) deliver(t *testing.T, made *spooltest.FS, want map[string][]string) string {
	t.Helper()
	fs := made.Kill()
	frames := liveFrames(t, fs)
	fs.Edit(f.name, func(p []byte) []byte {
		p[f.at] ^= f.mask
		return p
	})
	c := flipCluster(t)
	defer c.Close()
	var open *spool.Spool
	s := flipSink(t, c, fs, &open)
	waitFor(t, "everything delivered", func() bool {
		st := s.Stats()
		return st.Recovered > 0 && st.Spooled == 0 && st.InFlight == 0
	})
	st := s.Stats()
	sp := open.Stats()
	s.Close(ended())

	got := consume(t, c, int(st.Delivered))
	lost := 0
	for key, values := range got {
		lost += f.compare(t, key, values, want[key])
	}
	_ = frames
	return f.verdict(t, frames, st, sp, int(st.Delivered))
}

// compare: what is there is a part of what was appended, in its order.
func (f flip) compare(t *testing.T, key string, got, want []string) (missing int) {
	t.Helper()
	next := 0
	for _, v := range got {
		for next < len(want) && want[next] != v {
			next++
		}
		if next == len(want) {
			t.Errorf("key %s: a record that is wrong, doubled or out of order: %.80q", key, v)
			return 0
		}
		next++
	}
	return len(want) - len(got)
}

// verdict compares the sum with the frames that were there.
func (f flip) verdict(t *testing.T, frames []liveFrame, st sink.Stats, sp spool.Stats, delivered int) string {
	t.Helper()
	sum, hit := 0, 0
	for _, fr := range frames {
		sum += fr.events
		if filepath.Base(f.name) == fr.file && int64(f.at) >= fr.off && int64(f.at) < fr.off+fr.size {
			hit = fr.events
		}
	}
	lost := sum - delivered
	switch {
	case lost < 0 && st.PossibleDuplicates >= int64(-lost): // a cursor was lost: frames that were done came back
		return "repeats, counted"
	case lost == 0:
		return "nothing lost"
	case lost == hit && sp.Quarantined == 1:
		return "a frame lost"
	}
	t.Errorf("%d of %d events delivered, the frame that was hit has %d; quarantined %d, possible duplicates %d", delivered, sum, hit, sp.Quarantined, st.PossibleDuplicates)
	return "wrong"
}

type liveFrame struct {
	file      string
	off, size int64
	events    int
}

func liveFrames(t *testing.T, fs *spooltest.FS) (frames []liveFrame) {
	t.Helper()
	_, err := spool.Inspect(spool.Inspection{FS: fs, Dir: "/spool"}, func(p *spool.Piece) error {
		if p.Kind == spool.KindFrame {
			frames = append(frames, liveFrame{p.Segment, p.Pos.Offset(), p.Bytes, int(p.Frame.Events)})
		}
		return nil
	})
	must(t, err)
	return frames
}

// consume reads n records, and then makes sure that there are no more.
func consume(t *testing.T, c *kfake.Cluster, n int) map[string][]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(flipTopic), kgo.FetchMaxWait(10*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, count := map[string][]string{}, 0
	for count < n {
		fetches := cl.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
			count++
		})
	}
	if end := endOf(t, cl); int64(n) != end {
		t.Errorf("%d records delivered, the topic has %d", n, end)
	}
	return got
}

func endOf(t *testing.T, cl *kgo.Client) (sum int64) {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = flipTopic
	for p := range int32(flipPartitions) {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(t.Context(), cl)
	must(t, err)
	for _, p := range resp.Topics[0].Partitions {
		must(t, kerr.ErrorForCode(p.ErrorCode))
		sum += p.Offset
	}
	return sum
}
