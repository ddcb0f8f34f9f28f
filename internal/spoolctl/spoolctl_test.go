package spoolctl

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func batch(t testing.TB, codec recordbatch.Codec, headers []sink.Header, values ...string) []byte {
	t.Helper()
	b := recordbatch.NewPrivateBatch(64 << 10)
	for i, v := range values {
		if !b.TryAppend(start.UnixMilli()+int64(i)*1000, []byte("k"), []byte(v), headers) {
			t.Fatal("no room")
		}
	}
	if err := b.Compress(codec, new(recordbatch.Scratch)); err != nil {
		t.Fatal(err)
	}
	b.Stamp(-1, -1, -1)
	return b.AppendTo(nil)
}

// filled is a closed spool with a frame of each codec and a dead letter.
func filled(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	add := func(topic string, id int32, n int32, wire []byte) {
		if _, err := spooltest.Queue(s, topic, id).Append(spool.Meta{Events: n, Records: n, FirstTimestamp: start.UnixMilli()}, wire); err != nil {
			t.Fatal(err)
		}
	}
	for c := recordbatch.None; c <= recordbatch.Zstd; c++ {
		long := fmt.Sprintf(`{"codec":"%v","x":%q}`, c, strings.Repeat("a", 500))
		add("t", int32(c%2), 2, batch(t, c, nil, long, "{\n\"b\":1}"))
	}
	add("t.dlq", 0, 1, batch(t, recordbatch.None, []sink.Header{{Key: deadLetterHeader, Value: []byte("syntax")}}, "\xff["))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func source(dir string) Source {
	return Source{Dir: dir, Now: func() time.Time { return start.Add(time.Hour) }, Pause: func() {}}
}

func TestList(t *testing.T) {
	l, err := List(source(filled(t)))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := l.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if l.Total.Frames != 6 || l.Total.Events != 11 || len(l.Partitions) != 3 || !l.Closed || l.Damaged.Count != 0 || !strings.Contains(b.String(), "1h0m0s") {
		t.Errorf("%+v\n%s", l, b.String())
	}
	if _, err := List(source(t.TempDir())); err == nil {
		t.Error("an empty directory passes for a spool")
	}
}

func TestVerifyAndExport(t *testing.T) {
	dir := filled(t)
	var b bytes.Buffer
	if bad, err := Verify(source(dir), &b); bad != 0 || err != nil || b.String() != "6 frames, 11 records, 0 set-aside files, 0 torn ends: 0 damaged\n" {
		t.Fatalf("%d, %v, %s", bad, err, b.String())
	}
	b.Reset()
	sum, err := Export(source(dir), Filter{}, &b)
	if err != nil || sum != (Exported{Records: 10, DeadLetters: 1}) || strings.Count(b.String(), "\n") != 10 || !strings.Contains(b.String(), "{ \"b\":1}\n") {
		t.Errorf("%+v, %v\n%s", sum, err, b.String())
	}
	b.Reset()
	_, err = Export(source(dir), Filter{Topics: []string{"t.dlq"}, WithMeta: true}, &b)
	want := `{"topic":"t.dlq","partition":0,"key":"k","timestamp":"2026-01-02T03:04:05Z","headers":[{"key":"ingest-reason","value":"syntax"}],"value":{"base64":"/1s="}}` + "\n"
	if err != nil || b.String() != want {
		t.Errorf("%v\n%s", err, b.String())
	}
	b.Reset()
	sum, err = Export(source(dir), Filter{Partitions: []int32{1}, Since: start.Add(time.Second)}, &b)
	if err != nil || sum.Records != 2 {
		t.Errorf("%+v, %v", sum, err)
	}
	// One flipped byte in the first batch costs that frame.
	name, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	p, err := os.ReadFile(name[0])
	if err != nil {
		t.Fatal(err)
	}
	p[64+64+30] ^= 1
	if err := os.WriteFile(name[0], p, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if bad, err := Verify(source(dir), &b); bad != 1 || err != nil || !strings.Contains(b.String(), filepath.Base(name[0])+" offset 0x40 ") {
		t.Errorf("%d, %v, %s", bad, err, b.String())
	}
	if sum, err := Export(source(dir), Filter{}, &b); err != nil || sum.Damaged != 1 || sum.Records != 8 {
		t.Errorf("%+v, %v", sum, err)
	}
}

// TestLive: a process that appends, finishes and reuses segments is never taken for damage.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 256 << 10, SegmentBytes: 16 << 10}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	wire := batch(t, recordbatch.None, nil, strings.Repeat("v", 2000))
	stop, ended := make(chan struct{}), make(chan error, 1)
	var steps atomic.Int64
	go func() {
		q := spooltest.Queue(s, "t", 0)
		for {
			select {
			case <-stop:
				ended <- s.Close()
				return
			default:
			}
			if _, err := q.Append(spool.Meta{Events: 1, Records: 1}, wire); err != nil {
				ended <- err
				return
			}
			steps.Add(1)
			if n, _, _ := q.Len(); n > 20 {
				_, pos, err := q.Peek(nil)
				if err == nil {
					err = q.Done(pos)
				}
				if err != nil {
					ended <- err
					return
				}
			}
		}
	}()
	live := source(dir)
	live.Pause = func() { // until the write that was under way has ended
		for until := steps.Load() + 2; steps.Load() < until && len(ended) == 0; {
			runtime.Gosched()
		}
	}
	for range 100 {
		var b bytes.Buffer
		if bad, err := Verify(live, &b); bad != 0 || err != nil {
			t.Errorf("%v\n%s", err, b.String())
			break
		}
		if _, err := List(live); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestProgress(t *testing.T) {
	now := start
	var b bytes.Buffer
	p := NewProgress(&b, false, func() time.Time { return now }, Bytes)
	p.At(1, 100)
	now = now.Add(lineEvery)
	p.At(50, 100)
	p.End()
	if b.String() != "ingest: 50%, 50B of 100B\n" {
		t.Errorf("%q", b.String())
	}
}
