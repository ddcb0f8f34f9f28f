package kafka

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// read reads a topic of c.
func read(t *testing.T, brokers []string, q Query) (recs []*Consumed, spans []Span, err error) {
	t.Helper()
	spans, err = Read(patient(t), Config{Brokers: brokers, RequestTimeout: 2 * time.Second}, Deps{Logger: slog.New(slog.DiscardHandler)}, q, func(c *Consumed) error {
		r := *c
		r.Headers = append(r.Headers[:0:0], r.Headers...)
		recs = append(recs, &r)
		return nil
	})
	return recs, spans, err
}

func TestReadsWhatTheSinkWrote(t *testing.T) {
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd, recordbatch.Gzip} {
		c := cluster(t, 3)
		s := start(t, c, func(cfg *Config, d *Deps) { cfg.Codec, cfg.Headers, d.Origin = codec, HeadersStandard, origin(fromF()) })
		want := appendAll(t, s, 500, 7, nil)
		closeSink(t, s)
		got, spans, err := read(t, c.ListenAddrs(), Query{Topic: "t"})
		if err != nil || len(got) != 500 || len(spans) != 3 {
			t.Fatalf("%v: %d records of %d partitions, %v", codec, len(got), len(spans), err)
		}
		as := make([]*kgo.Record, len(got))
		for i, r := range got {
			as[i] = &kgo.Record{Key: r.Key, Value: r.Value}
			if len(r.Headers) != 3 || r.Timestamp < begin || i > 0 && got[i-1].Partition == r.Partition && r.At != got[i-1].At+1 {
				t.Fatalf("%v: record %+v", codec, r)
			}
		}
		checkKeyed(t, as, want)
	}
}

func TestReadsARange(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, nil)
	appendAll(t, s, 100, 1, nil) // timestamps are a millisecond apart
	closeSink(t, s)
	at := func(n int64) time.Time { return time.UnixMilli(begin + n) }
	for name, tt := range map[string]struct {
		q           Query
		first, want int64
	}{
		"all":          {Query{}, 0, 100},
		"since":        {Query{Since: at(40)}, 40, 60},
		"until":        {Query{Until: at(40)}, 0, 40},
		"both":         {Query{Since: at(40), Until: at(50)}, 40, 10},
		"in future":    {Query{Since: at(1000)}, 0, 0},
		"offsets":      {Query{Offsets: map[int32][2]int64{0: {7, 9}}}, 7, 2},
		"to the end":   {Query{Offsets: map[int32][2]int64{0: {97, -1}}}, 97, 3},
		"beyond":       {Query{Offsets: map[int32][2]int64{0: {0, 1000}}}, 0, 100},
		"nothing left": {Query{Offsets: map[int32][2]int64{0: {1000, -1}}}, 0, 0},
	} {
		tt.q.Topic = "t"
		got, _, err := read(t, c.ListenAddrs(), tt.q)
		if err != nil || int64(len(got)) != tt.want || tt.want > 0 && got[0].At != tt.first {
			t.Errorf("%s: %d records, %v", name, len(got), err)
		}
	}
	if _, _, err := read(t, c.ListenAddrs(), Query{Topic: "t", Offsets: map[int32][2]int64{5: {0, 1}}}); err == nil {
		t.Error("a partition that is none was read")
	}
	if _, _, err := read(t, c.ListenAddrs(), Query{Topic: "none"}); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a topic that is none: %v", err)
	}
	stop := errors.New("stop")
	if _, err := Read(context.Background(), Config{Brokers: c.ListenAddrs()}, Deps{}, Query{Topic: "t"}, func(*Consumed) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("yield's error: %v", err)
	}
}
