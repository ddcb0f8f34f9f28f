package spool_test

import (
	"bytes"
	"errors"
	"maps"
	"path/filepath"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// inspectAll collects the pieces of a directory.
func inspectAll(t testing.TB, m *model, batches bool) (spool.Report, []spool.Piece, map[spool.Kind]int) {
	t.Helper()
	var pieces []spool.Piece
	kinds := map[spool.Kind]int{}
	report, err := spool.Inspect(spool.Inspection{Dir: dir, Batches: batches, FS: m.fs, Pause: func() {}}, func(p *spool.Piece) error {
		if p.Scanned < 0 || p.Scanned > p.Total || p.Total == 0 {
			t.Errorf("progress %d of %d", p.Scanned, p.Total)
		}
		c := *p
		c.Frame.Batch = bytes.Clone(p.Frame.Batch)
		pieces = append(pieces, c)
		kinds[p.Kind]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return report, pieces, kinds
}

// TestInspect: a live directory is described and not touched.
func TestInspect(t *testing.T) {
	m := newModel(t, 5, spool.Config{SegmentBytes: 8192, MaxBytes: 1 << 20})
	m.mustOpen()
	for i := range 60 {
		m.append(i % modelQueues)
		if i%10 == 9 {
			m.done(0)
		}
	}
	m.sending(1)
	_ = m.s.SetAside([]byte("x"), [32]byte{1})
	before := m.fs.Kill()
	report, pieces, kinds := inspectAll(t, m, true)
	live := map[spool.Pos]*modelFrame{}
	for _, frames := range m.frames {
		for _, f := range frames {
			if !f.done {
				live[f.pos] = f
			}
		}
	}
	for i := range pieces {
		p := &pieces[i]
		if p.Kind != spool.KindFrame {
			continue
		}
		want := live[p.Pos]
		if want == nil {
			t.Fatalf("a frame at %v", p.Pos)
		}
		m.equal(p.Frame, p.Pos, want)
		if p.InDoubt != (p.Pos == m.doubt[1]) || p.InDoubt && p.Stamp != stampOf(p.Pos) {
			t.Errorf("%v in doubt: %v %+v", p.Pos, p.InDoubt, p.Stamp)
		}
		delete(live, p.Pos)
	}
	if len(live) != 0 || kinds[spool.KindDone] == 0 || len(kinds) != 2 {
		t.Errorf("%d frames are missing; %v", len(live), kinds)
	}
	if st := m.s.Stats(); report.Segments != st.Segments || report.Bytes != st.Bytes || report.Closed || report.Cursors != modelQueues || len(report.SetAside) != 1 {
		t.Errorf("%+v", report)
	}
	for _, name := range before.Names() {
		if !bytes.Equal(before.Bytes(name), m.fs.Bytes(name)) {
			t.Errorf("%s was changed", name)
		}
	}
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	if report, _, _ := inspectAll(t, m, false); !report.Closed {
		t.Error("the closing mark is not seen")
	}
}

// TestInspectDamage: every kind of piece is named, and the walk can be ended.
func TestInspectDamage(t *testing.T) {
	m := filled(t, 6, 80, spool.Config{SegmentBytes: 8192, MaxBytes: 1 << 20})
	var segments []string
	for _, name := range m.fs.Names() {
		if filepath.Ext(name) == ".seg" {
			segments = append(segments, name)
		}
	}
	if len(segments) < 4 {
		t.Fatal(segments)
	}
	m.fs.Edit(segments[0], func(p []byte) []byte { return spooltest.SetVersion(p, 9) })
	m.fs.Edit(segments[1], func(p []byte) []byte { p[200] ^= 1; p[3] ^= 1; return p })
	last := segments[len(segments)-1]
	m.fs.Edit(last, func(p []byte) []byte { return p[:len(p)-1] })
	_, _, kinds := inspectAll(t, m, false)
	delete(kinds, spool.KindDone)
	delete(kinds, spool.KindFrame)
	if want := map[spool.Kind]int{spool.KindForeign: 1, spool.KindCorrupt: 2, spool.KindTorn: 1}; !maps.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	enough := errors.New("enough")
	if _, err := spool.Inspect(spool.Inspection{Dir: dir, FS: m.fs}, func(*spool.Piece) error { return enough }); err != enough {
		t.Errorf("err = %v", err)
	}
}

// TestInspectDuringAWrite: a header of which a half is written is looked at again. It is damage only when it
// stays so.
func TestInspectDuringAWrite(t *testing.T) {
	m := newModel(t, 7, spool.Config{SegmentBytes: 1 << 16, MaxBytes: 1 << 20})
	m.mustOpen()
	for range 10 {
		m.append(0)
	}
	_, pieces, _ := inspectAll(t, m, false)
	frame := pieces[len(pieces)/2]
	file, err := m.fs.Open(filepath.Join(dir, frame.Segment), false)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(uint32(frame.Pos))
	whole := bytes.Clone(m.fs.Bytes(filepath.Join(dir, frame.Segment))[at : at+64])
	write := func(p []byte) {
		if err := file.WriteVec([][]byte{p}, at); err != nil {
			t.Fatal(err)
		}
	}
	half := append(bytes.Clone(whole[:32]), make([]byte, 32)...)
	for _, ends := range []bool{true, false} { // the write, within the first pause
		write(half)
		pauses, kinds := 0, map[spool.Kind]int{}
		_, err := spool.Inspect(spool.Inspection{Dir: dir, FS: m.fs, Pause: func() {
			if pauses++; ends {
				write(whole)
			}
		}}, func(p *spool.Piece) error { kinds[p.Kind]++; return nil })
		want := map[spool.Kind]int{spool.KindFrame: len(pieces) - 1, spool.KindCorrupt: 1}
		if ends {
			want = map[spool.Kind]int{spool.KindFrame: len(pieces)}
		}
		if err != nil || !maps.Equal(kinds, want) || pauses == 0 {
			t.Errorf("a write that ends (%v): %v, %v after %d pauses", ends, kinds, err, pauses)
		}
	}
	write(whole)
}

// TestInspectDuringACursorsWrite: the same for a cursor.
func TestInspectDuringACursorsWrite(t *testing.T) {
	m := filled(t, 8, 20, spool.Config{SegmentBytes: 8192, MaxBytes: 1 << 20})
	name := filepath.Join(dir, "cursors")
	size := len(m.fs.Bytes(name))
	bad := func(pause func()) int {
		r, err := spool.Inspect(spool.Inspection{Dir: dir, FS: m.fs, Pause: pause}, func(*spool.Piece) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return r.BadCursors
	}
	at := int64(size) - 1
	for ; at >= 0; at-- {
		m.fs.Flip(name, at)
		if bad(func() {}) == 1 {
			break
		}
		m.fs.Flip(name, at)
	}
	if at < 0 {
		t.Fatal("no byte matters")
	}
	pauses := 0
	if n := bad(func() {
		if pauses++; pauses == 3 {
			m.fs.Flip(name, at) // whole again
		}
	}); n != 0 || pauses != 3 {
		t.Errorf("%d bad cursors after %d pauses", n, pauses)
	}
}
