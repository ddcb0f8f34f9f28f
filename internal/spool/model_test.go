package spool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

const dir = "/spool"

// modelFrame is a frame as the model knows it.
type modelFrame struct {
	id     uint64
	queue  int
	pos    spool.Pos
	synced bool // Sync said so
	done   bool
	maybe  bool // Done failed: it may come back
}

// model is what the spool must be equal to: plain lists.
type model struct {
	t       testing.TB
	rng     *rand.Rand
	fs      *spooltest.FS
	s       *spool.Spool
	cfg     spool.Config
	boots   int
	now     time.Time
	nextID  uint64
	frames  [][]*modelFrame // by queue, in order of Append
	doubt   []spool.Pos     // by queue: the last Sending without Done; 0: none
	suspect []spool.Pos     // by queue: what Open called suspect and is not done
	dirty   []bool          // by queue: the last write of a cursor failed
	buf     []byte
	faulty  bool // the accident came with failing operations
}

const modelQueues = 3

func newModel(t testing.TB, seed uint64, cfg spool.Config) *model {
	m := &model{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), fs: spooltest.New(1 << 40), cfg: cfg, nextID: 1, now: time.UnixMilli(1),
		frames: make([][]*modelFrame, modelQueues), doubt: make([]spool.Pos, modelQueues), suspect: make([]spool.Pos, modelQueues), dirty: make([]bool, modelQueues),
	}
	m.cfg.Dir = dir
	return m
}

func (m *model) open() error {
	s, err := spool.Open(m.cfg, spool.Deps{FS: m.fs, Boot: fmt.Sprint("boot ", m.boots), Now: func() time.Time { return m.now }})
	m.s = s
	return err
}

func (m *model) mustOpen() {
	m.t.Helper()
	if err := m.open(); err != nil {
		m.t.Fatalf("Open: %v", err)
	}
}

func queueName(queue int) (string, int32) { return []string{"a", "a", "dead"}[queue], int32(queue % 2) }

func (m *model) queue(i int) *spool.Queue {
	topic, partition := queueName(i)
	return spooltest.Queue(m.s, topic, partition)
}

// batchOf makes the batch of a frame: its id, then bytes that follow from it. Some look like frames, some
// have zeros, but not at the end: half a frame over old zeros would be a whole one.
func batchOf(id uint64) []byte {
	rng := rand.New(rand.NewPCG(id, 2))
	p := make([]byte, 8+rng.IntN(1500))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	if rng.IntN(4) == 0 {
		clear(p[8 : 8+(len(p)-8)/2])
	}
	if len(p) > 80 && rng.IntN(4) == 0 {
		copy(p[16:], "\xf5igf")
	}
	binary.LittleEndian.PutUint64(p, id)
	return p
}

func (m *model) append(queue int) {
	id := m.nextID
	m.nextID++
	batch := batchOf(id)
	cut := m.rng.IntN(len(batch) + 1)
	pos, err := m.queue(queue).Append(spool.Meta{Events: int32(id % 7), Records: int32(id), FirstTimestamp: int64(id)}, batch[:cut], batch[cut:])
	if err == nil {
		m.frames[queue] = append(m.frames[queue], &modelFrame{id: id, queue: queue, pos: pos})
	}
}

func (m *model) oldest(queue int) *modelFrame {
	for _, f := range m.frames[queue] {
		if !f.done {
			return f
		}
	}
	return nil
}

// sync makes all frames durable, or some of them by the mercy of a neighbour.
func (m *model) sync() {
	var first, last spool.Pos
	for _, frames := range m.frames {
		for _, f := range frames {
			if !f.synced && !f.done {
				if first == 0 || f.pos < first {
					first = f.pos
				}
				last = max(last, f.pos)
			}
		}
	}
	if last == 0 || m.s.Sync(first, last) != nil {
		return
	}
	for _, frames := range m.frames {
		for _, f := range frames {
			f.synced = f.synced || f.pos >= first && f.pos <= last
		}
	}
}

// peek compares the oldest frame; broken is true while reads may fail.
func (m *model) peek(queue int, broken bool) {
	f, pos, err := m.queue(queue).Peek(m.buf[:0])
	want := m.oldest(queue)
	switch {
	case broken && err != nil:
	case want == nil && err == io.EOF:
	case want == nil || err != nil:
		m.t.Fatalf("Peek(%d): %v at %v, want %+v", queue, err, pos, want)
	default:
		m.buf = f.Batch
		m.equal(f, pos, want)
	}
}

func (m *model) equal(f spool.Frame, pos spool.Pos, want *modelFrame) {
	m.t.Helper()
	topic, partition := queueName(want.queue)
	if pos != want.pos || f.Topic != topic || f.Partition != partition || f.Records != int32(want.id) ||
		f.Events != int32(want.id%7) || f.FirstTimestamp != int64(want.id) || !bytes.Equal(f.Batch, batchOf(want.id)) {
		m.t.Fatalf("frame %+v at %v, want %+v", f.Meta, pos, want)
	}
}

func (m *model) sending(queue int) {
	f := m.oldest(queue)
	if f == nil {
		return
	}
	m.dirty[queue] = m.queue(queue).Sending(f.pos, stampOf(f.pos)) != nil
	m.doubt[queue] = f.pos
}

func stampOf(pos spool.Pos) spool.Stamp {
	return spool.Stamp{ProducerID: int64(pos), Epoch: int16(pos), BaseSequence: int32(pos % 1000), FirstSent: -int64(pos)}
}

func (m *model) done(queue int) {
	f := m.oldest(queue)
	if f == nil {
		return
	}
	err := m.queue(queue).Done(f.pos)
	if err == spool.ErrClosed {
		return
	}
	f.done, f.maybe = true, err != nil
	if err == nil {
		for _, o := range m.frames[queue] {
			o.maybe = false // this cursor covers the former ones
		}
	}
	m.dirty[queue] = err != nil
	m.doubt[queue] = 0
	if m.suspect[queue] <= f.pos {
		m.suspect[queue] = 0
	}
}

// step does one random thing.
func (m *model) step(broken bool) {
	queue := m.rng.IntN(modelQueues)
	switch r := m.rng.IntN(20); {
	case r < 8:
		m.append(queue)
	case r < 9:
		m.sync()
	case r < 12:
		m.peek(queue, broken)
	case r < 14:
		m.sending(queue)
	case r < 18:
		m.done(queue)
	case r < 19:
		if !broken { // a frame that cannot be read leaves the queue after a time
			m.lengths(queue)
		}
	default:
		_ = m.s.SetAside([]byte("whole"), [32]byte{1})
	}
}

func (m *model) lengths(queue int) {
	frames, events, _ := m.queue(queue).Len()
	wantFrames, wantEvents := 0, int64(0)
	for _, f := range m.frames[queue] {
		if !f.done {
			wantFrames++
			wantEvents += int64(f.id % 7)
		}
	}
	if frames != wantFrames || events != wantEvents {
		m.t.Fatalf("Len(%d) = %d frames, %d events; want %d, %d", queue, frames, events, wantFrames, wantEvents)
	}
}

// contents reads all frames of a queue without taking them.
func (m *model) contents(queue int) (frames []spool.Frame, positions []spool.Pos) {
	m.t.Helper()
	for pos := spool.Pos(0); ; {
		f, at, err := m.queue(queue).PeekAfter(pos, nil)
		if err == io.EOF {
			return frames, positions
		}
		if err != nil {
			m.t.Fatalf("PeekAfter(%v): %v", pos, err)
		}
		pos = at
		frames, positions = append(frames, f), append(positions, at)
	}
}

type accident int

const (
	closed  accident = iota
	killed           // the page cache is there
	crashed          // it is not
)

// compare opens what an accident left and compares it with the model, which then goes on from there.
func (m *model) compare(how accident) {
	m.t.Helper()
	m.mustOpen()
	st := m.s.Stats()
	if st.UncleanStart != (how != closed) && !m.faulty {
		m.t.Fatalf("unclean start %v after accident %d", st.UncleanStart, how)
	}
	if st.Quarantined != 0 && how != crashed {
		m.t.Fatalf("%d damaged regions after accident %d", st.Quarantined, how)
	}
	for queue := range modelQueues {
		m.compareQueue(queue, how)
	}
}

func (m *model) compareQueue(queue int, how accident) {
	m.t.Helper()
	frames, positions := m.contents(queue)
	upTo, suspect := m.queue(queue).Suspect()
	if suspect != (m.suspect[queue] != 0) && how != crashed && !m.faulty {
		m.t.Fatalf("queue %d is suspect up to %v, want %v", queue, upTo, m.suspect[queue])
	}
	m.suspect[queue] = upTo
	found := map[spool.Pos]bool{}
	next := 0
	var kept []*modelFrame
	for i, f := range frames {
		for next < len(m.frames[queue]) && m.frames[queue][next].pos != positions[i] {
			next++
		}
		if next == len(m.frames[queue]) {
			m.t.Fatalf("queue %d has a frame that was never appended, or twice, or out of order: %v", queue, positions[i])
		}
		want := m.frames[queue][next]
		m.equal(f, positions[i], want)
		if want.done && !want.maybe && upTo < want.pos {
			m.t.Fatalf("queue %d: frame %v is done and came back, and the queue is not suspect", queue, want.pos)
		}
		found[positions[i]] = true
		want.done, want.maybe, want.synced = false, false, want.synced || how == closed
		kept = append(kept, want)
	}
	for _, f := range m.frames[queue] {
		if !f.done && !found[f.pos] && (how != crashed || f.synced) {
			m.t.Fatalf("queue %d: frame %v (synced %v) is lost after accident %d", queue, f.pos, f.synced, how)
		}
	}
	m.frames[queue] = kept
	m.compareDoubt(queue, how, found)
}

func (m *model) compareDoubt(queue int, how accident, found map[spool.Pos]bool) {
	m.t.Helper()
	pos, stamp, ok := m.queue(queue).Doubt()
	switch {
	case ok && (!found[pos] || stamp != stampOf(pos)):
		m.t.Fatalf("queue %d: doubt %v with stamp %+v", queue, pos, stamp)
	case how == crashed || m.dirty[queue]: // it may be an older one
	case ok != (m.doubt[queue] != 0) || pos != m.doubt[queue]:
		m.t.Fatalf("queue %d: doubt %v, want %v", queue, pos, m.doubt[queue])
	}
	m.doubt[queue], m.dirty[queue] = pos, false
}

// after leaves the file system as the accident does.
func (m *model) after(how accident) {
	switch how {
	case closed:
		if err := m.s.Close(); err != nil {
			m.t.Fatal(err)
		}
	case killed:
		m.fs = m.fs.Kill()
	case crashed:
		m.fs = m.fs.Crash(m.rng)
		m.boots++
	}
}

// TestModel: random operations, with ends of all kinds, against lists.
func TestModel(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 50
	}
	for seed := range seeds {
		m := newModel(t, seed, spool.Config{SegmentBytes: 4096, MaxBytes: 1 << 20})
		m.mustOpen()
		for range 6 {
			for range m.rng.IntN(80) {
				m.step(false)
			}
			how := accident(m.rng.IntN(3))
			m.after(how)
			m.compare(how)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

var errOff = errors.New("power off")

// TestPowerOffAtEveryOperation: from the nth operation on nothing works any more. Whatever n, a kill and
// a crash at that point leave what the model says.
func TestPowerOffAtEveryOperation(t *testing.T) {
	for seed := range uint64(3) {
		for _, how := range []accident{killed, crashed} {
			for n := 1; ; n++ {
				m := newModel(t, seed, spool.Config{SegmentBytes: 4096, MaxBytes: 1 << 20})
				ops := 0
				m.fs.SetFault(func(spooltest.Op, string) error {
					if ops++; ops < n {
						return nil
					}
					return errOff
				})
				if m.open() == nil {
					for range 60 {
						m.step(true)
					}
					_ = m.s.Close()
				}
				if ops < n {
					break
				}
				m.fs.SetFault(nil)
				m.after(how)
				m.faulty = true
				m.compare(how)
			}
		}
	}
}
