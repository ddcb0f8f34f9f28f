package spool_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// end is the offset behind the frame.
func (f *modelFrame) end() int {
	topic, _ := queueName(f.queue)
	return int(f.pos.Offset()) + 64 + len(topic) + len(batchOf(f.id))
}

// filled makes a spool with frames of several queues, some done, one in doubt, and kills its process.
func filled(t *testing.T, seed uint64, frames int, cfg spool.Config) *model {
	m := newModel(t, seed, cfg)
	m.mustOpen()
	for i := range frames {
		m.append(m.rng.IntN(modelQueues))
		if i%5 == 4 {
			m.done(m.rng.IntN(modelQueues))
		}
	}
	m.sending(0)
	m.fs = m.fs.Kill()
	return m
}

// damaged opens a copy of m's directory with one file changed, and reports which of the frames that are
// not done are missing. Whatever comes back is right.
func (m *model) damaged(name string, edit func([]byte) []byte) (missing []*modelFrame, st spool.Stats) {
	m.t.Helper()
	c := &model{t: m.t, fs: m.fs.Kill(), cfg: m.cfg}
	c.fs.Edit(name, edit)
	c.mustOpen()
	st = c.s.Stats()
	for queue := range modelQueues {
		frames, positions := c.contents(queue)
		upTo, _ := c.queue(queue).Suspect()
		found := map[spool.Pos]bool{}
		for i, f := range frames {
			at := slices.IndexFunc(m.frames[queue], func(want *modelFrame) bool { return want.pos == positions[i] })
			if at < 0 {
				m.t.Fatalf("%s: a frame at %v that was never appended", name, positions[i])
			}
			c.equal(f, positions[i], m.frames[queue][at])
			if m.frames[queue][at].done && positions[i] > upTo {
				m.t.Fatalf("%s: frame %v is done and came back, and is not suspect", name, positions[i])
			}
			found[positions[i]] = true
		}
		if !slices.IsSorted(positions) {
			m.t.Fatalf("%s: out of order", name)
		}
		for _, f := range m.frames[queue] {
			if !f.done && !found[f.pos] {
				missing = append(missing, f)
			}
		}
	}
	if err := c.s.Close(); err != nil {
		m.t.Fatal(err)
	}
	// What is in quarantine is known the second time.
	c.mustOpen()
	if again := c.s.Stats(); again.Quarantined != 0 || again.Torn != 0 {
		m.t.Fatalf("%s: damage is counted again: %+v", name, again)
	}
	return missing, st
}

// flip checks a directory in which one byte of a file differs.
func (m *model) flip(name string, at int, mask byte) {
	m.t.Helper()
	missing, st := m.damaged(name, func(p []byte) []byte {
		p[at] ^= mask
		return p
	})
	switch {
	case len(missing) > 1:
		m.t.Fatalf("%s, byte %d: %d frames are missing", name, at, len(missing))
	case len(missing) == 1:
		f := missing[0]
		if at < int(f.pos.Offset()) || at >= f.end() {
			m.t.Fatalf("%s, byte %d: frame %v is missing, which is elsewhere", name, at, f.pos)
		}
		if st.Quarantined != 1 || st.Torn != 0 {
			m.t.Fatalf("%s, byte %d: a frame is missing and not in quarantine: %+v", name, at, st)
		}
	}
	if st.Torn != 0 {
		m.t.Fatalf("%s, byte %d: bytes were cut off", name, at)
	}
}

// TestFlipEveryByte: one flipped byte, at every place of a small directory.
func TestFlipEveryByte(t *testing.T) {
	m := filled(t, 1, 9, spool.Config{SegmentBytes: 4096, MaxBytes: 1 << 20})
	rng := rand.New(rand.NewPCG(3, 3))
	files, bytes := m.fs.Names(), 0
	if len(files) < 3 {
		t.Fatalf("files: %v", files)
	}
	for _, name := range files {
		for at := range m.fs.Bytes(name) {
			m.flip(name, at, byte(1+rng.IntN(255)))
			bytes++
		}
	}
	t.Logf("%d bytes in %d files", bytes, len(files))
}

// TestFlipSeeds: the same in larger directories, at random places.
func TestFlipSeeds(t *testing.T) {
	seeds := 1000
	if testing.Short() {
		seeds = 200
	}
	var m *model
	for seed := range uint64(seeds) {
		if seed%50 == 0 {
			m = filled(t, seed, 300, spool.Config{SegmentBytes: 32 << 10, MaxBytes: 8 << 20})
		}
		files := m.fs.Names()
		name := files[m.rng.IntN(len(files))]
		if n := len(m.fs.Bytes(name)); n > 0 {
			m.flip(name, m.rng.IntN(n), byte(1+m.rng.IntN(255)))
		}
	}
}

// TestTornTail: the newest segment ends at every length. Only the frames behind the cut are missing,
// and it is no damage.
func TestTornTail(t *testing.T) {
	m := filled(t, 2, 6, spool.Config{SegmentBytes: 1 << 20, MaxBytes: 1 << 24})
	name := ""
	for _, n := range m.fs.Names() {
		if filepath.Ext(n) == ".seg" {
			name = n
		}
	}
	var ends []int // of frames
	for _, frames := range m.frames {
		for _, f := range frames {
			ends = append(ends, int(f.pos.Offset()))
		}
	}
	size := len(m.fs.Bytes(name))
	ends = append(ends, size-64) // where the end mark is
	for cut := range size {
		for _, zeros := range []bool{false, true} {
			missing, st := m.damaged(name, func(p []byte) []byte {
				if zeros {
					clear(p[cut:])
					return p
				}
				return p[:cut]
			})
			for _, f := range missing {
				if f.end() <= cut {
					t.Fatalf("cut at %d: frame %v is missing", cut, f.pos)
				}
			}
			if zeros {
				continue // a frame with its last bytes zero is damaged, or even whole
			}
			whole := slices.Contains(ends, cut) || cut == 0
			if st.Quarantined != 0 || st.Torn != 1 && !whole {
				t.Fatalf("cut at %d of %d: %+v", cut, size, st)
			}
		}
	}
}

// TestTornOverwrite: a segment's file had another segment in it, and a write into it ends at every
// length. The frame before is there, the former segment's are not.
func TestTornOverwrite(t *testing.T) {
	m, name, before := reusing(t, 8192)
	m.append(2)
	after, torn := m.fs.Bytes(name), m.frames[2][0]
	if torn.end()+64 > len(before) {
		t.Fatal("the file was not longer than the frame")
	}
	for cut := int(torn.pos.Offset()); cut < torn.end()+64; cut++ {
		missing, st := m.damaged(name, func(p []byte) []byte {
			copy(p, after[:cut])
			copy(p[cut:], before[cut:])
			return p
		})
		for _, f := range missing {
			if f != torn {
				t.Fatalf("cut at %d: frame %v is missing", cut, f.pos)
			}
		}
		// Within its header it is not known for a frame unless the cut is at a page's end, the only place where
		// a kill can put it: then the rest of the file is kept.
		inHeader := cut < int(torn.pos.Offset())+64 || cut >= torn.end()
		if st.Quarantined != 0 && !inHeader {
			t.Fatalf("cut at %d of a frame from %d to %d: %+v", cut, torn.pos.Offset(), torn.end(), st)
		}
	}
}

// reusing makes a spool whose active segment has a file with another one's bytes in it, and a frame.
func reusing(t *testing.T, segmentBytes int64) (m *model, name string, file []byte) {
	m = newModel(t, 9, spool.Config{SegmentBytes: segmentBytes, MaxBytes: 1 << 20})
	m.mustOpen()
	for m.reused() == "" {
		m.append(0)
		for len(m.frames[0]) > 1 {
			m.done(0)
			m.frames[0] = m.frames[0][1:]
		}
	}
	m.append(1)
	name = m.reused()
	return m, name, m.fs.Kill().Bytes(name)
}

// reused is the segment whose file had another one in it: it is larger than its frames.
func (m *model) reused() string {
	for _, name := range m.fs.Names() {
		if _, frames, kinds := inspectAll(m.t, m, false); filepath.Ext(name) == ".seg" && kinds[spool.KindCorrupt] == 0 {
			last := frames[len(frames)-1]
			if filepath.Base(name) == last.Segment && int64(len(m.fs.Bytes(name))) > last.Pos.Offset()+last.Bytes+4096 {
				return name
			}
		}
	}
	return ""
}

// TestOtherVersion: a directory in which another version has written is refused and left as it is.
func TestOtherVersion(t *testing.T) {
	m := filled(t, 4, 40, spool.Config{SegmentBytes: 4096, MaxBytes: 1 << 20})
	for _, name := range m.fs.Names() {
		if filepath.Base(name) == "lock" {
			continue
		}
		c := &model{t: t, fs: m.fs.Kill(), cfg: m.cfg}
		c.fs.Edit(name, func(p []byte) []byte { return spooltest.SetVersion(p, 2) })
		before := c.fs.Kill()
		var version *spool.VersionError
		if err := c.open(); !errors.As(err, &version) || version.Version != 2 || version.File != filepath.Base(name) {
			t.Fatalf("%s: %v", name, err)
		}
		unchanged(t, before, c.fs)
		report, _, kinds := inspectAll(t, c, false)
		if kinds[spool.KindForeign] == 0 && report.CursorVersion != 2 {
			t.Errorf("%s: an inspection finds %v, %+v", name, kinds, report)
		}
		c.fs.Edit(name, func(p []byte) []byte { return spooltest.SetVersion(p, spool.Version) })
		c.mustOpen()
		if st := c.s.Stats(); st.Quarantined != 0 || st.RecoveredFrames == 0 {
			t.Errorf("%s: read by its own version: %+v", name, st)
		}
	}
}

// unchanged fails if a file system differs from what it was.
func unchanged(t *testing.T, before, after *spooltest.FS) {
	t.Helper()
	if a, b := before.Names(), after.Names(); !slices.Equal(a, b) {
		t.Fatalf("files were %v and are %v", a, b)
	}
	for _, name := range before.Names() {
		if !bytes.Equal(before.Bytes(name), after.Bytes(name)) {
			t.Errorf("%s was changed", name)
		}
	}
}

// TestCutInGroup: a kill within the write of many frames, at any page, damages nothing.
func TestCutInGroup(t *testing.T) {
	m, name, before := reusing(t, 64<<10)
	var w []spool.Write
	for i := range 60 {
		w = append(w, spool.Write{Queue: spooltest.Queue(m.s, "t", int32(i)), Meta: spool.Meta{Events: 1}, Batch: [][]byte{make([]byte, 260+i)}})
	}
	if n, err := m.s.Append(w); n != 60 || err != nil {
		t.Fatal(n, err)
	}
	after := m.fs.Kill().Bytes(name)
	if len(after) != len(before) || w[59].Pos.Segment() != w[0].Pos.Segment() {
		t.Fatal("not in the reused file")
	}
	bad, cuts := 0, 0
	// Every place of the cut in its page: as if the group began elsewhere.
	for cut := (int(w[0].Pos.Offset())/4096 + 1) * 4096; cut < int(w[59].Pos.Offset())+400; cut += 4096 {
		fs := m.fs.Kill()
		fs.Edit(name, func(p []byte) []byte {
			copy(p, after[:cut])
			copy(p[cut:], before[cut:])
			return p
		})
		s, err := spool.Open(m.cfg, spool.Deps{FS: fs, Boot: "boot 0"})
		if err != nil {
			t.Fatal(err)
		}
		cuts++
		if st := s.Stats(); st.QuarantinedEvents != 0 || st.Quarantined != 0 {
			bad++
			for _, x := range w {
				if d := int64(cut) - x.Pos.Offset(); d >= 0 && d < 64 {
					t.Logf("cut at %d, %d bytes within the header at %v: %d event counted as damaged, %d bytes in quarantine", cut, d, x.Pos, st.QuarantinedEvents, st.QuarantineBytes)
				}
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d kills within the write count damage", bad, cuts)
	}
}
