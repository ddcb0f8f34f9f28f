package faults

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

const (
	// samplePause is the longest pause between two samples. It is twice the time of an answer where that is less, so that
	// sampling costs the same part of a machine, fast or slow.
	samplePause = 5 * time.Millisecond
	// wantSamples is the minimum for each test, in the short form too: few tests are so short that they wait for it.
	wantSamples = 1000
	// leastSamples is the minimum of a test in the short form whose process is killed, which does not wait for them: a busy
	// machine may give it no more.
	leastSamples = 20
)

// start starts a process whose ledger is sampled from its first answer to its end, and waits until it is ready.
// Together with startUnready it is the only way in which this suite starts a process.
func start(t *testing.T, o proc.Options) *proc.Process {
	t.Helper()
	p := startUnready(t, o)
	must(t, p.WaitReady(t.Context()))
	return p
}

// startUnready is start for a process that does not get ready now.
func startUnready(t *testing.T, o proc.Options) *proc.Process {
	t.Helper()
	p := proc.StartUnready(t, o)
	s := &sampler{row: t.Name(), stop: make(chan struct{}), done: make(chan struct{})}
	samples.of(s.row) // so that a row without a sample is seen
	go s.run(t, p)
	t.Cleanup(func() { close(s.stop); <-s.done })
	return p
}

// stop ends a process with SIGTERM, once the test has enough samples.
func stop(t *testing.T, p *proc.Process) (code int, last *proc.Ledger) {
	t.Helper()
	awaitSamples(t)
	return end(t, p)
}

// end ends a process with SIGTERM at once: where that is the fault, the load goes on meanwhile.
func end(t *testing.T, p *proc.Process) (code int, last *proc.Ledger) {
	t.Helper()
	code, last = p.MustStop(t)
	if last.Waiting.Bodies != 0 || last.Waiting.Bytes != 0 {
		t.Errorf("bodies wait in the last ledger: %+v", *last)
	}
	return code, last
}

// awaitSamples waits until the processes of the test were asked often enough.
func awaitSamples(t *testing.T) {
	t.Helper()
	n := samples.of(t.Name())
	waitFor(t, "enough samples of the ledger", func() bool { return n.Load() >= wantSamples || t.Failed() })
}

// sampler asks a process for its ledger over and over: the terms must add up at every instant, not only when nothing
// moves. /status has the same ledger and costs more to answer, so that it is asked one time in ten.
type sampler struct {
	row        string
	stop, done chan struct{}
}

func (s *sampler) run(t *testing.T, p *proc.Process) {
	defer close(s.done)
	n := samples.of(s.row)
	pause := time.NewTimer(0)
	defer pause.Stop()
	var before proc.Ledger
	for i := 0; ; i++ {
		select {
		case <-pause.C:
		case <-s.stop:
			return
		case <-p.Exited():
			return
		}
		ask := p.Ledger
		if i%10 == 0 {
			ask = p.StatusLedger
		}
		asked := time.Now()
		l, err := ask()
		if err != nil { // killed, frozen, or not yet listening
			pause.Reset(samplePause)
			continue
		}
		pause.Reset(min(2*time.Since(asked), samplePause))
		if err := soundAfter(&before, l); err != nil {
			t.Errorf("sample %d: %v", n.Load(), err)
			return
		}
		before = *l
		n.Add(1)
	}
}

// soundAfter compares a sample with itself and with the one before.
func soundAfter(before, l *proc.Ledger) error {
	if err := l.Balance(); err != nil {
		return err
	}
	for name, n := range map[string]int64{
		"spooled": l.Spooled, "inFlight": l.InFlight, "waiting.bodies": l.Waiting.Bodies, "waiting.bytes": l.Waiting.Bytes,
		"taken bodies that do not wait": l.Bodies.Admitted - l.Waiting.Bodies,
		// What is counted never falls.
		"new admitted": l.Admitted - before.Admitted, "new recovered": l.Recovered - before.Recovered, "new delivered": l.Delivered - before.Delivered,
		"new deadLettered": l.DeadLettered - before.DeadLettered, "new setAside": l.SetAside - before.SetAside,
		"new dropped": l.DroppedTotal() - before.DroppedTotal(), "new bodies": l.Bodies.Admitted - before.Bodies.Admitted,
		"new refused": l.RefusedTotal() - before.RefusedTotal(),
	} {
		if n < 0 {
			return fmt.Errorf("%s is %d: %+v after %+v", name, n, *l, *before)
		}
	}
	return nil
}

// sampled counts samples by test.
type sampled struct {
	sync.Mutex
	rows map[string]*atomic.Int64
}

// samples are those of this run.
var samples sampled

func (c *sampled) of(row string) *atomic.Int64 {
	c.Lock()
	defer c.Unlock()
	if c.rows == nil {
		c.rows = map[string]*atomic.Int64{}
	}
	if c.rows[row] == nil {
		c.rows[row] = new(atomic.Int64)
	}
	return c.rows[row]
}

// report says how often the ledgers of the run were looked at, in the long form for each test, and which tests fell short.
func (c *sampled) report() (text string, short []string) {
	c.Lock()
	defer c.Unlock()
	if len(c.rows) == 0 {
		return "", nil
	}
	var b strings.Builder
	sum, least := int64(0), int64(math.MaxInt64)
	for _, row := range slices.Sorted(maps.Keys(c.rows)) {
		n := c.rows[row].Load()
		sum, least = sum+n, min(least, n)
		if *all {
			fmt.Fprintf(&b, "%6d samples of %s\n", n, row)
		}
		want := int64(wantSamples)
		if !*all {
			want = leastSamples
		}
		if n < want {
			short = append(short, fmt.Sprintf("%s: %d samples of the ledger, want %d", row, n, want))
		}
	}
	fmt.Fprintf(&b, "%d samples of the ledger in %d tests, at least %d in each; each adds up", sum, len(c.rows), least)
	return b.String(), short
}

// No test of the suite starts or stops a process past start and stop.
func TestEveryProcessIsSampled(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, call := range []string{"proc.Start", "proc.StartUnready", "proc.Launch", ".MustStop"} {
			n, most := strings.Count(string(text), call+"("), 0
			if file == "sampler_test.go" && (call == "proc.StartUnready" || call == ".MustStop") {
				most = 1
			}
			if n > most {
				t.Errorf("%s calls %s %d times: start, startUnready and stop sample the ledger", file, call, n)
			}
		}
	}
}
