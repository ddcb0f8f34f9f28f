package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/test/proc"
)

// place is one byte of a spool directory, or the length to which its file is cut.
type place struct {
	kind   string
	file   string
	at     int64
	cut    bool
	events int64 // that may be missing then
}

// TestDamagedDirectory: ingest is killed with many frames on disk, its directory is copied, one byte of the
// copy is flipped or its newest segment is cut, and ingest is started on it. It always starts, delivers
// every frame but the one that was hit, nothing else, and the books are right.
func TestDamagedDirectory(t *testing.T) {
	beside(t)
	l := newLab(t)
	r := &row{fault: "damaged", proxy: true, events: 120_000, rate: 60_000, modes: []mode{disk}, promise: everything}
	tr := l.prepare(t, r, disk)
	made := tr.dir
	// With a spool it is ready before it knows the partitions; then all frames would be in one queue.
	life := tr.start()
	waitFor(t, "the partitions", func() bool { return strings.Contains(life.Stderr(), "events reach Kafka") })
	p := l.fleet.Proxy(0)
	must(t, p.Refuse(true))
	p.CutAll()
	tr.post()
	tr.load.Wait()
	awaitSamples(t)
	tr.kill()
	left := tr.now().left
	t.Logf("%d frames, %d events on disk", left.frames, left.events)
	must(t, p.Refuse(false))

	seeds := 21
	if !*all {
		seeds = 7
	}
	places := damage(t, made, seeds)
	for i, at := range places {
		t.Run(fmt.Sprintf("%02d %s", i, at.kind), func(t *testing.T) {
			tr.T = t
			tr.oneDamage(made, at)
		})
	}
}

// oneDamage starts ingest on a damaged copy.
func (tr *trial) oneDamage(made string, at place) {
	must(tr, tr.kafka.DeleteTopic(tr.topic))
	tr.await("the topic gone and made anew", func() bool { return tr.kafka.CreateTopic(tr.topic, 4, nil) == nil })
	tr.dir = filepath.Join(tr.TempDir(), "spool")
	must(tr, os.CopyFS(tr.dir, os.DirFS(made)))
	at.apply(tr.T, tr.dir)
	for i, a := range tr.opts.Args {
		if a == "--spool-dir" {
			tr.opts.Args[i+1] = tr.dir
		}
	}
	tr.lives = nil
	life := tr.start()
	life.WaitLedger(tr, patience, "everything delivered", func(l *proc.Ledger) bool {
		return l.Recovered > 0 && l.InFlight == 0 && l.Spooled == 0
	})
	tr.look()
	code, l := stop(tr.T, life.Process)
	report, err := tr.judge.Read(tr.Context(), tr.kafka.Bootstrap(), tr.topic)
	must(tr, err)
	tr.Logf("byte %d of %s: %d of %d events lost, %d doubled, %d possible duplicates, dropped %v, quarantined %v, torn %v", at.at, at.file,
		report.Lost, report.Acked, report.Doubled+report.Repeated, l.PossibleDuplicates, l.Dropped, life.last["ingest_spool_quarantined_total"], life.last["ingest_spool_torn_tails_total"])
	if n := report.Damaged + report.Foreign + report.WrongKey + report.RefusedDelivered + report.OutOfOrder; n != 0 {
		tr.Errorf("wrong records: %v\n%v", report, report.Details)
	}
	if int64(report.Doubled+report.Repeated) > l.PossibleDuplicates {
		tr.Errorf("%d doubled, %d counted as possible", report.Doubled+report.Repeated, l.PossibleDuplicates)
	}
	lost := int64(report.Lost)
	if lost != 0 && lost != at.events {
		tr.Errorf("%d events lost, the frame that was hit has %d", lost, at.events)
	}
	counted := lost
	if at.kind == "frame header" {
		counted = min(lost, 1) // nobody knows how many there were
	}
	if !at.cut && l.DroppedTotal() != counted {
		tr.Errorf("%d events lost, dropped %v", lost, l.Dropped)
	}
	if !at.cut && lost != 0 && life.last["ingest_spool_quarantined_total"] == 0 {
		tr.Error("a frame is lost and nothing is in quarantine")
	}
	if want := exitCode(l); code != want {
		tr.Errorf("exit %d, want %d", code, want)
	}
	tr.lives = nil
}

func (p place) apply(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Join(dir, p.file)
	b, err := os.ReadFile(name)
	must(t, err)
	if p.cut {
		b = b[:p.at]
	} else {
		b[p.at] ^= 0x5a
	}
	must(t, os.WriteFile(name, b, 0o644))
}

// damage chooses n places, of every kind in turn.
func damage(t *testing.T, dir string, n int) (places []place) {
	t.Helper()
	type frame struct {
		file              string
		off, size, events int64
		topic             int64
	}
	var frames []frame
	_, err := spool.Inspect(spool.Inspection{Dir: dir}, func(p *spool.Piece) error {
		if p.Kind == spool.KindFrame {
			frames = append(frames, frame{p.Segment, p.Pos.Offset(), p.Bytes, int64(p.Frame.Events), int64(len(p.Frame.Topic))})
		}
		return nil
	})
	must(t, err)
	if len(frames) < 20 {
		t.Fatalf("only %d frames", len(frames))
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	const header = 64
	for i := range n {
		f := frames[rng.IntN(len(frames))]
		p := place{file: f.file, events: f.events}
		switch i % 7 {
		case 0:
			p.kind, p.at = "batch", f.off+header+f.topic+rng.Int64N(f.size-header-f.topic)
		case 1:
			p.kind, p.at = "frame header", f.off+rng.Int64N(header)
		case 2:
			p.kind, p.at = "topic", f.off+header+rng.Int64N(f.topic)
		case 3:
			p.kind, p.at, p.events = "segment header", rng.Int64N(header), 0
		case 4:
			p.kind, p.file, p.at, p.events = "cursor header", "cursors", rng.Int64N(512), 0
		case 5:
			p.kind, p.file, p.at, p.events = "cursor slot", "cursors", 512+rng.Int64N(4*1024), 0
		case 6:
			last := frames[len(frames)-1]
			p = place{kind: "torn tail", file: last.file, at: last.off + rng.Int64N(last.size), cut: true, events: last.events}
		}
		places = append(places, p)
	}
	return places
}
