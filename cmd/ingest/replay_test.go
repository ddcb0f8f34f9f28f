package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spoolctl"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

func cluster(t *testing.T, topics ...string) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// outage leaves a directory as a sink that must end while Kafka is away: n events of each of three keys, and
// a dead letter for each hundred of them. With a cluster it came to know the partitions first.
func outage(t *testing.T, c *kfake.Cluster, topic string, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "spool")
	opened := make(chan struct{})
	var down atomic.Bool
	cfg := kafka.Config{
		Brokers: []string{"127.0.0.1:1"}, Topic: topic, Settle: kafka.SettleAtOnce,
		BatchBytes: recordbatch.ChunkSize, BufferBytes: 8 * recordbatch.ChunkSize,
	}
	if c != nil {
		cfg.Brokers = c.ListenAddrs()
	}
	s, err := kafka.New(cfg, kafka.Deps{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if down.Load() {
				return nil, errors.New("no network")
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &cutConn{conn, &down}, err
		},
		OpenSpool: func() (diskqueue.Spool, error) {
			defer close(opened)
			return spool.Open(spool.Config{Dir: dir}, spool.Deps{})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	<-opened
	until(t, func() bool { return c == nil || s.Ready() == nil })
	down.Store(true)
	for i := range n {
		for _, key := range []string{"a", "b", "c"} {
			r := sink.Record{Key: []byte(key), Value: fmt.Appendf(nil, `{"traceId":%q,"n":%d}`, key, i), Timestamp: 1_700_000_000_000}
			if _, err := s.Append(t.Context(), []sink.Record{r}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 0 {
			if err := s.DeadLetter(t.Context(), &sink.DeadLetter{Raw: []byte("["), Reason: "syntax"}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.Close(ended)
	if st := s.Stats(); st.Spooled != int64(3*n+(n+99)/100) {
		t.Fatalf("%+v", st)
	}
	return dir
}

// cutConn fails as soon as the network is down.
type cutConn struct {
	net.Conn
	down *atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.down.Load() {
		return 0, errors.New("no network")
	}
	return c.Conn.Write(p)
}

// until waits for a condition; nothing depends on how long it takes.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it does not come to be")
		}
	}
}

// judge reads n records of each of three keys: each once, in order; and the dead letters.
func judge(t *testing.T, c *kfake.Cluster, topic string, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic, topic+".dlq"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	next := map[string]int{}
	dead := 0
	for read := 0; read < 3*n+(n+99)/100; {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("only %v and %d dead letters", next, dead)
		}
		for _, r := range f.Records() {
			read++
			if r.Topic != topic {
				dead++
				continue
			}
			key := string(r.Key)
			if want := fmt.Sprintf(`{"traceId":%q,"n":%d}`, key, next[key]); string(r.Value) != want {
				t.Fatalf("%s, want %s", r.Value, want)
			}
			next[key]++
		}
	}
	if dead != (n+99)/100 {
		t.Errorf("%d dead letters", dead)
	}
}

func replayArgs(c *kfake.Cluster, dir, topic string, more ...string) []string {
	return append([]string{"spool", "replay", "--brokers=" + c.ListenAddrs()[0], "--topic=" + topic, "--spool-dir=" + dir}, more...)
}

// lastLedger is the last line of stdout, in balance.
func lastLedger(t *testing.T, stdout string) ledger.Ledger {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var l ledger.Ledger
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if !l.Balanced() || l.InFlight != 0 || l.Admitted != 0 {
		t.Errorf("ledger %s", stdout)
	}
	return l
}

// What a process left is delivered, dead letters too, whether it knew the partitions or not; a second run
// finds nothing.
func TestReplay(t *testing.T) {
	for _, knew := range []bool{false, true} {
		t.Run(fmt.Sprint(knew), func(t *testing.T) {
			c := cluster(t, "t", "t.dlq")
			var known *kfake.Cluster
			if knew {
				known = c
			}
			const n = 2000
			dir := outage(t, known, "t", n)
			code, stdout, stderr := call(t, replayArgs(c, dir, "t")...)
			l := lastLedger(t, stdout)
			if code != exitOK || l.Delivered != 3*n || l.DeadLettered != n/100 || l.Recovered != 3*n+n/100 {
				t.Errorf("exit code %d, %s\n%s", code, stdout, stderr)
			}
			judge(t, c, "t", n)
			code, stdout, stderr = call(t, replayArgs(c, dir, "t")...)
			if l := lastLedger(t, stdout); code != exitOK || l.Recovered != 0 {
				t.Errorf("again: exit code %d, %s\n%s", code, stdout, stderr)
			}
		})
	}
}

// A replay that is stopped half-way leaves the rest, and the next one sends it: nothing is lost, doubled or
// out of order.
func TestReplayGoesOnWhereItWasStopped(t *testing.T) {
	c := cluster(t, "t", "t.dlq")
	const n = 3000
	dir := outage(t, c, "t", n)
	stop, end := context.WithCancel(t.Context())
	defer end()
	requests := 0
	var mended atomic.Bool
	c.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics { // dead letters may all come first
			if topic.Topic == "t" {
				requests++
			}
		}
		if requests <= 2 || mended.Load() {
			return nil, nil, false
		}
		end()
		return nil, errors.New("cut"), true
	})
	inv, err := config.Parse(replayArgs(c, dir, "t", "--shutdown-timeout=300ms"), config.Host{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	out := newConsole(&stderr, spoolctl.Events)
	log := logging.New(out, false, logging.NewLevel(inv.Config.LogLevel))
	budget, err := prepare(inv.Config, log)
	if err != nil {
		t.Fatal(err)
	}
	code := replay(stop, t.Context(), inv.Config, budget, log, &stdout, out)
	first := lastLedger(t, stdout.String())
	if code != exitFailed || first.Delivered == 0 || first.Spooled == 0 || first.Delivered+first.DeadLettered+first.Spooled != first.Recovered ||
		!strings.Contains(stderr.String(), fmt.Sprintf("with %d events are left in %s", first.Spooled, dir)) {
		t.Fatalf("exit code %d, %s\n%s", code, stdout.String(), stderr.String())
	}
	mended.Store(true)
	code, again, errs := call(t, replayArgs(c, dir, "t")...)
	if l := lastLedger(t, again); code != exitOK || l.Recovered != first.Spooled {
		t.Errorf("exit code %d, %s\n%s", code, again, errs)
	}
	judge(t, c, "t", n)
}

// What a replay refuses leaves the directory as it is.
func TestReplayRefuses(t *testing.T) {
	c := cluster(t, "t")
	dir := outage(t, nil, "t", 10)
	t.Run("a directory in use", func(t *testing.T) {
		s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := call(t, replayArgs(c, dir, "t")...)
		if code != exitFailed || stdout != "" || stderr != "ingest: --spool-dir="+dir+": a process is using it, and sends its events\n" {
			t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
	before := contents(t, dir)
	t.Run("another topic", func(t *testing.T) {
		code, stdout, stderr := call(t, replayArgs(c, dir, "u")...)
		l := lastLedger(t, stdout)
		if code != exitFailed || l.Spooled != 31 || l.Recovered != 31 || !strings.Contains(stderr, "1 frames with 30 events of topic t are left") ||
			!strings.Contains(stderr, "1 frames with 1 events of topic t.dlq are left") {
			t.Errorf("exit code %d, %s, %s", code, stdout, stderr)
		}
	})
	for name, args := range map[string][]string{
		"no directory": {"--spool-dir=" + filepath.Join(dir, "none")},
		"no spool":     {"--spool-dir=" + t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t, replayArgs(c, dir, "t", args...)...)
			if code != exitFailed || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
			}
		})
	}
	for _, tt := range []struct{ flag, want string }{
		{"--spool-dir=off", "ingest: --spool-dir=off: must be the directory to send from\n"},
		{"--sink=ndjson", "ingest: --sink=ndjson: must be kafka: a spool is sent nowhere else\n"},
		{"--timeout=-1s", "ingest: --timeout=-1s: must not be negative; 0 is as long as it takes\n"},
	} {
		if code, _, stderr := call(t, replayArgs(c, dir, "t", tt.flag)...); code != exitUsage || stderr != tt.want {
			t.Errorf("%s: exit code %d, %s", tt.flag, code, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory was made")
	}
	after := contents(t, dir)
	for _, m := range []map[string]string{before, after} {
		for name := range m {
			if !strings.HasSuffix(name, ".seg") {
				delete(m, name) // opening it renews the cursors' header
			}
		}
	}
	if len(before) == 0 || !maps.Equal(before, after) {
		t.Error("a segment was changed")
	}
}

// Without Kafka a replay ends at --timeout, whatever --shutdown-timeout is, says why, and everything is still there:
// also when there was no time to look at Kafka.
func TestReplayTimeout(t *testing.T) {
	dir := outage(t, nil, "t", 10)
	for _, timeout := range []string{"1ns", "1ms", "500ms"} {
		code, stdout, stderr := call(t, "spool", "replay", "--brokers=127.0.0.1:1", "--topic=t", "--spool-dir="+dir, "--timeout="+timeout, "--shutdown-timeout=24h")
		if l := lastLedger(t, stdout); code != exitFailed || l.Recovered != 31 || l.Spooled != 31 || !strings.Contains(stderr, "2 frames with 31 events are left in "+dir+": ") {
			t.Errorf("%s: exit code %d, %s, %s", timeout, code, stdout, stderr)
		}
	}
}

// Frames whose partition was not known are placed, also when they fill the spool.
func TestReplayOfAFullSpool(t *testing.T) {
	c := cluster(t, "t", "t.dlq")
	const n = 12_000
	dir := outage(t, nil, "t", n)
	code, stdout, stderr := call(t, replayArgs(c, dir, "t", "--spool-max=1MiB", "--timeout=60s")...)
	if l := lastLedger(t, stdout); code != exitOK || l.Delivered != 3*n || l.PossibleDuplicates != 0 {
		t.Errorf("exit code %d, %s\n%s", code, stdout, stderr)
	}
	judge(t, c, "t", n)
}

// A damaged frame is lost and said to be; the others are delivered.
func TestReplayOfADamagedSpool(t *testing.T) {
	c := cluster(t, "t", "t.dlq")
	dir := outage(t, c, "t", 2000)
	damage(t, dir)
	code, stdout, stderr := call(t, replayArgs(c, dir, "t")...)
	l := lastLedger(t, stdout)
	lost := l.Dropped[kafka.DroppedDamaged]
	if code != exitDamaged || lost == 0 || l.Delivered+l.DeadLettered+lost != 6020 || l.Spooled != 0 ||
		!strings.Contains(stderr, fmt.Sprintf("ingest: %d events are lost: damaged %d\n", lost, lost)) ||
		!strings.Contains(stderr, "ingest: 1 damaged regions were copied to "+dir+"/quarantine\n") {
		t.Errorf("exit code %d, %s\n%s", code, stdout, stderr)
	}
}

// damage flips a byte within the batch of a frame with events of the main topic. A header that is hit would hide how
// many events are lost.
func damage(t *testing.T, dir string) {
	t.Helper()
	var hit spool.Piece
	_, err := spool.Inspect(spool.Inspection{Dir: dir}, func(p *spool.Piece) error {
		if p.Kind == spool.KindFrame && p.Frame.Topic == "t" {
			hit = *p
		}
		return nil
	})
	if err != nil || hit.Frame.Events == 0 {
		t.Fatalf("no frame in %s: %v", dir, err)
	}
	path := filepath.Join(dir, hit.Segment)
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p[hit.Pos.Offset()+hit.Bytes/2] ^= 1
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// contents is every file below dir.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			files[path] = "" // directories too
			return err
		}
		p, err := os.ReadFile(path)
		files[path] = string(p)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
