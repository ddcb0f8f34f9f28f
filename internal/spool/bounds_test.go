package spool_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// fill appends frames of n bytes to a queue until there is an error.
func fill(q *spool.Queue, n int) (positions []spool.Pos, err error) {
	batch := make([]byte, n)
	for {
		pos, err := q.Append(spool.Meta{Events: 1}, batch)
		if err != nil {
			return positions, err
		}
		positions = append(positions, pos)
	}
}

// TestMaxBytes: the files never take more, and there is room again when frames are done.
func TestMaxBytes(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10})
	m.mustOpen()
	q := m.queue(0)
	total := 0
	for round := range 5 {
		positions, err := fill(q, 3000)
		if !errors.Is(err, spool.ErrFull) {
			t.Fatalf("err = %v", err)
		}
		const reserve = 1 << 17 // for frames that replace others
		if st := m.s.Stats(); st.Bytes > 1<<20-reserve || st.Bytes < 1<<20-reserve-4096 || st.Latched != nil {
			t.Fatalf("round %d: %+v", round, st)
		}
		pos, err := q.Append(spool.Meta{Events: 1, Replaces: positions[0]}, make([]byte, 3000))
		if err != nil {
			t.Fatalf("round %d: a frame that replaces another: %v", round, err)
		}
		positions = append(positions, pos)
		total += len(positions)
		if len(positions) < 15 {
			t.Fatalf("round %d: room for %d frames", round, len(positions))
		}
		half := len(positions) / 2
		if err := q.Done(positions[half]); err != nil {
			t.Fatal(err)
		}
	}
	onDisk := 0
	for _, name := range m.fs.Names() {
		onDisk += len(m.fs.Bytes(name))
	}
	if onDisk > 1<<20+4096 {
		t.Errorf("%d bytes on disk", onDisk)
	}
	if _, err := q.Append(spool.Meta{}, make([]byte, 1<<20)); !errors.Is(err, spool.ErrTooLarge) {
		t.Errorf("err = %v", err)
	}
}

// TestKeepFree: the spool stops while others still have their share of the disk.
func TestKeepFree(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 1 << 30, KeepFree: 3 << 20})
	m.fs.SetBudget(8 << 20)
	m.mustOpen()
	positions, err := fill(m.queue(0), 10_000)
	if !errors.Is(err, spool.ErrFull) {
		t.Fatalf("err = %v", err)
	}
	free, _ := m.fs.Free(dir)
	if free < 3<<20 || free > 3<<20+64<<10 {
		t.Errorf("%d bytes are free", free)
	}
	if err := m.s.SetAside(make([]byte, 64<<10), [32]byte{1}); !errors.Is(err, spool.ErrFull) {
		t.Errorf("SetAside: %v", err)
	}
	m.fs.SetBudget(9 << 20) // others made room
	if _, err := m.queue(0).Append(spool.Meta{}, make([]byte, 10_000)); err != nil || len(positions) == 0 {
		t.Error(err)
	}
}

// TestMaxFrames: the index in memory has a bound of its own.
func TestMaxFrames(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxFrames: 100})
	m.mustOpen()
	positions, err := fill(m.queue(0), 1)
	if !errors.Is(err, spool.ErrFull) || len(positions) != 100 {
		t.Fatalf("%d frames, err = %v", len(positions), err)
	}
	if err := m.queue(0).Done(positions[0]); err != nil {
		t.Fatal(err)
	}
	if positions, _ = fill(m.queue(1), 1); len(positions) != 1 {
		t.Errorf("%d frames", len(positions))
	}
	for n := 0; ; n++ { // what replaces others may go a quarter beyond
		if _, err := m.queue(2).Append(spool.Meta{Replaces: positions[0]}, []byte{1}); err == nil && n < 25 {
			continue
		} else if n != 25 || !errors.Is(err, spool.ErrFull) {
			t.Errorf("%d frames in the place of others, err = %v", n, err)
		}
		break
	}
}

// TestReclaim: one partition without a leader has frames in every segment. The space of the others,
// whose frames are done, is used again; its own frames stay, in order, across a kill.
func TestReclaim(t *testing.T) {
	m := newModel(t, 1, spool.Config{MaxBytes: 4 << 20, SegmentBytes: 256 << 10})
	m.mustOpen()
	stuck, going := m.queue(0), m.queue(1)
	batch := make([]byte, 30_000)
	for i := range 1000 { // 30 MB through 4 MiB
		if i%50 == 0 {
			m.append(0)
		}
		pos, err := going.Append(spool.Meta{}, batch)
		if err != nil {
			t.Fatalf("after %d frames: %v, %+v", i, err, m.s.Stats())
		}
		if err := going.Done(pos); err != nil {
			t.Fatal(err)
		}
	}
	st := m.s.Stats()
	if st.Reclaimed == 0 || st.Bytes > 4<<20 {
		t.Errorf("%+v", st)
	}
	if frames, _, _ := stuck.Len(); frames != len(m.frames[0]) || frames != 20 {
		t.Errorf("%d frames", frames)
	}
	m.after(killed)
	m.compare(killed)
	if again := m.s.Stats(); again.Bytes > st.Bytes+64 || again.Frames != 20 {
		t.Errorf("%+v, before %+v", again, st)
	}
}

// TestSetAside: whole, durable, once, bounded.
func TestSetAside(t *testing.T) {
	m := newModel(t, 1, spool.Config{SetAsideBytes: 1000})
	m.mustOpen()
	raw := []byte("an event that no topic takes")
	sum := sha256.Sum256(raw)
	named := false // the folder outlives a loss of power
	m.fs.SetFault(func(op spooltest.Op, name string) error {
		named = (named || op == spooltest.OpSyncDir && name == dir) && op != spooltest.OpMkdir
		return nil
	})
	for range 2 {
		if err := m.s.SetAside(raw, sum); err != nil {
			t.Fatal(err)
		}
	}
	m.fs.SetFault(nil)
	if !named {
		t.Error("a loss of power can take the folder")
	}
	if err := m.s.SetAside(make([]byte, 1000), [32]byte{1}); !errors.Is(err, spool.ErrFull) {
		t.Errorf("err = %v", err)
	}
	m.fs = m.fs.Crash(m.rng)
	m.mustOpen()
	if got := m.fs.Bytes(dir + "/setaside/" + hex.EncodeToString(sum[:]) + ".json"); string(got) != string(raw) {
		t.Errorf("file: %q", got)
	}
	if err := m.s.SetAside(raw, sum); err != nil {
		t.Fatal(err)
	}
	if st := m.s.Stats(); st.SetAside != 1 || st.SetAsideBytes != int64(len(raw)) {
		t.Errorf("%+v", st)
	}
}

// TestRoom: whatever keeps batches from being written, Room says so without one, and what it says there is room for is
// taken.
func TestRoom(t *testing.T) {
	const size = 10_000
	done := func(m *model, written []spool.Pos) {
		if err := m.queue(0).Done(written[len(written)-1]); err != nil {
			m.t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		cfg         spool.Config
		begin, mend func(m *model, written []spool.Pos)
	}{
		"--spool-max": {spool.Config{MaxBytes: 1 << 20, SegmentBytes: 64 << 10}, nil, done},
		"frames":      {spool.Config{MaxFrames: 10}, nil, done},
		"others": {spool.Config{MaxBytes: 1 << 30, KeepFree: 3 << 20}, func(m *model, _ []spool.Pos) { m.fs.SetBudget(8 << 20) },
			func(m *model, _ []spool.Pos) { m.fs.SetBudget(9 << 20) }},
		"errors": {spool.Config{}, func(m *model, _ []spool.Pos) {
			left := 5
			m.fs.SetFault(func(op spooltest.Op, _ string) error {
				if left--; op == spooltest.OpWrite && left < 0 {
					return syscall.EIO
				}
				return nil
			})
		}, func(m *model, _ []spool.Pos) { m.fs.SetFault(nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, 1, tt.cfg)
			m.mustOpen()
			if tt.begin != nil {
				tt.begin(m, nil)
			}
			written, full := fill(m.queue(0), size)
			for range 3 {
				m.now = m.now.Add(time.Hour) // the pause after an error
				if err := m.s.Room(size); err == nil || !errors.Is(err, spool.ErrFull) && !errors.Is(err, spool.ErrWrite) || errors.Is(err, spool.ErrFull) != errors.Is(full, spool.ErrFull) {
					t.Errorf("Room = %v after %v", err, full)
				}
			}
			tt.mend(m, written)
			m.now = m.now.Add(time.Hour)
			if err := m.s.Room(size); err != nil {
				t.Errorf("Room = %v when all is well", err)
			}
			if _, err := m.queue(0).Append(spool.Meta{Events: 1}, make([]byte, size)); err != nil {
				t.Errorf("Append = %v after Room = nil", err)
			}
		})
	}
}

// A disk without room for the stamp of a frame is full, as one without room for the frame: what is to be done then is the
// same.
func TestNoRoomForAStamp(t *testing.T) {
	m := newModel(t, 1, spool.Config{})
	m.mustOpen()
	if _, err := m.queue(0).Append(spool.Meta{Records: 1}, []byte("a")); err != nil {
		t.Fatal(err)
	}
	m.fs.SetBudget(m.fs.Used()) // others have taken what was known to be free
	doubt := [1]spool.Write{{Queue: m.queue(1), Meta: spool.Meta{Records: 1}, Batch: [][]byte{[]byte("b")}, InDoubt: true}}
	if _, err := m.s.Append(doubt[:]); !errors.Is(err, spool.ErrFull) {
		t.Errorf("err = %v", err)
	}
}
