package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// Errors of this package; the ones that are returned wrap them and carry the numbers.
var (
	// ErrBusy: another process has the directory.
	ErrBusy = diskqueue.ErrBusy
	// ErrForeign: the directory, a file in it, or a symbolic link on the way to it belongs to another user.
	ErrForeign = errors.New("spool: not ours")
	// ErrOccupied: the directory is open to other users and holds what belongs to no spool, so it is not taken from them.
	ErrOccupied = errors.New("spool: the directory is in other use")
	// ErrClosed: the spool was closed.
	ErrClosed = errors.New("spool: closed")
	// ErrFull: no room within Config.MaxBytes, MaxFrames, SetAsideBytes, or above KeepFree. Nothing was written.
	ErrFull = diskqueue.ErrFull
	// ErrTooLarge: the frame fits into no segment, whatever is free. It is an ErrFull too.
	ErrTooLarge = fmt.Errorf("%w: frame too large", ErrFull)
	// ErrWrite: the disk failed. The spool tries again by itself, once per RetryEvery.
	ErrWrite = errors.New("spool: disk error")
	// ErrNotDurable: a frame's sync failed. It is still in its queue, and it may or may not outlive the
	// machine; it outlives the process.
	ErrNotDurable = errors.New("spool: not durable")
)

// What the Kafka sink and the spool have in common, and where it is described.
type (
	Pos   = diskqueue.Pos
	Meta  = diskqueue.Meta
	Frame = diskqueue.Frame
	Write = diskqueue.Write
	Sent  = diskqueue.Sent
	Stamp = diskqueue.Stamp
)

var (
	_ diskqueue.Spool = (*Spool)(nil)
	_ diskqueue.Queue = (*Queue)(nil)
)

// RetryEvery is how long Append fails at once after the disk failed, before the disk is tried again.
const RetryEvery = time.Second

// Config is what users set.
type Config struct {
	Dir string
	// MaxBytes bounds segments, quarantine and set-aside files together. Default 256 MiB.
	MaxBytes int64
	// SegmentBytes is the size at which the next segment begins; a larger frame gets one of its own. A
	// segment's space is given back when all its frames are done, so it is at most an eighth of MaxBytes.
	// Default: a 64th of MaxBytes, at least 8 MiB, so that 64 open files are enough.
	SegmentBytes int64
	// KeepFree is what the spool leaves free on the file system, for its other users. Default 0.
	KeepFree int64
	// MaxFrames bounds the frames that are not done; each costs 16 bytes of memory. Those that replace others may go a quarter
	// beyond it. Default 256 Ki = 4 MiB.
	MaxFrames int
	// SetAsideBytes bounds the set-aside files. Default: a quarter of MaxBytes.
	SetAsideBytes int64
}

func (c Config) withDefaults() Config {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 256 << 20
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = max(c.MaxBytes/64, 8<<20)
	}
	c.SegmentBytes = min(c.SegmentBytes, max(c.MaxBytes/8, 4096), maxFrameBytes)
	if c.MaxFrames <= 0 {
		c.MaxFrames = 256 << 10
	}
	if c.SetAsideBytes <= 0 {
		c.SetAsideBytes = c.MaxBytes / 4
	}
	return c
}

// mostFrames is how many frames there are at most, those that replace others included.
func (c *Config) mostFrames() int { return c.MaxFrames + c.MaxFrames/4 }

// Deps is what developers inject; the zero value is production.
type Deps struct {
	FS     FS               // default OS{}
	Logger *slog.Logger     // default: none
	Now    func() time.Time // default time.Now
	// Boot identifies the run of the machine, up to 40 bytes: a cursor that another run left without the
	// closing mark may be an old one. Default: what the operating system says.
	Boot string
}

func (d Deps) withDefaults() Deps {
	if d.FS == nil {
		d.FS = OS{}
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Boot == "" {
		d.Boot = bootID()
	}
	return d
}

// Spool is an open spool directory. All methods are safe for concurrent use.
//
// Locks, in the order in which they are taken: writing → mu. Neither mu nor cursors.mu is held during a
// write, read or sync of a segment, so a queue is read and advanced while the disk is slow.
type Spool struct {
	cfg Config
	fs  FS
	dir *ownDir // fs, if it is the operating system's; else nil
	// memory: there is no disk below fs, so what is written is as durable as it gets.
	memory bool
	log    *slog.Logger
	now    func() time.Time
	lock   io.Closer
	aside  aside

	cursors cursors

	writing slot // the appending goroutine; guards writer
	writer

	mu        sync.Mutex
	closed    bool
	queues    map[partition]*Queue
	order     []*Queue // as they came to be
	segments  map[uint32]*segment
	active    *segment   // takes frames; nil: the next frame begins a segment
	unsynced  []*segment // have bytes that are not durable, oldest first
	newFiles  bool       // a segment was created since the directory was synced
	used      int64      // bytes of the segments and of the spare file
	spareFile *spareFile
	// spareWanted: there is no spare file, and none is about to be.
	spareWanted bool
	spare       *block // free blocks of the index
	spares      int
	tail        Pos // of the newest frame
	durable     Pos // every frame up to here is durable, or in failed
	failed      []span
	forming     *group     // takes callers of Sync
	syncing     *group     // its fdatasync runs
	ended       []*segment // their files are to be removed
	held        []held     // segments that stay until cursors are durable
	sought      time.Time  // when the files' names were last sought; the round's own
	stats       counts
	latched     error            // why the disk is not written to; nil: it works
	retryAt     time.Time        // when latched: not before this
	failedSyncs int              // one after the other
	known       map[string]int64 // files in quarantine

	opening  bool          // Open is not done
	scanning *segment      // the segment that Open scans
	placed   map[Pos][]Pos // while Open scans: frames that are to replace one
}

type partition struct {
	topic string
	id    int32
}

// span is a range of positions, both included.
type span struct{ first, last Pos }

// Open locks the directory, which it makes, and reads what is in it. Damage is never a reason to fail: torn tails
// are cut, damaged frames are copied to quarantine/, all others are kept. It fails, and changes nothing, with
// ErrBusy, ErrForeign, with a *VersionError, when the directory cannot be made, and when the disk cannot read it: that may pass.
func Open(cfg Config, deps Deps) (*Spool, error) {
	cfg, deps = cfg.withDefaults(), deps.withDefaults()
	cfg.Dir = filepath.Clean(cfg.Dir)
	s := &Spool{
		cursors: cursors{boot: deps.Boot[:min(len(deps.Boot), maxBootBytes)], mu: newSlot()}, writing: newSlot(), aside: aside{mu: newSlot()},
		cfg: cfg, fs: deps.FS, log: deps.Logger, now: deps.Now,
		queues: map[partition]*Queue{}, segments: map[uint32]*segment{}, spareWanted: true,
	}
	if _, ok := s.fs.(OS); ok {
		d, err := openDir(cfg.Dir, s.log)
		if err != nil {
			return nil, err
		}
		s.fs, s.dir, s.memory = d, d, d.memory
		if err := d.own(); err != nil {
			return nil, errors.Join(err, s.closeDir())
		}
	} else if err := s.fs.MkdirAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	lock, err := s.fs.Lock(s.path(lockName))
	if err != nil {
		return nil, errors.Join(err, s.closeDir())
	}
	s.lock, s.opening = lock, true
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %w", err), lock.Close(), s.closeDir())
	}
	s.opening = false
	return s, nil
}

func (s *Spool) closeDir() error {
	if s.dir == nil {
		return nil
	}
	return s.dir.Close()
}

// Volume is what is below a spool directory.
type Volume struct {
	Free   int64 // bytes that may still be written
	Memory bool  // it is a file system in memory: what is in it is lost with the machine, and takes its memory
}

// MakeDir makes a spool directory, if need be and if it is ours, and looks at what is below it. log may be nil.
func MakeDir(dir string, log *slog.Logger) (v Volume, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	d, err := openDir(filepath.Clean(dir), log)
	if err != nil {
		return v, err
	}
	v.Memory = d.memory
	v.Free, err = d.Free(dir)
	return v, errors.Join(err, d.Close())
}

const (
	lockName       = "lock"
	cursorName     = "cursors"
	quarantineName = "quarantine"
	asideName      = "setaside"
)

func (s *Spool) path(elem ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, elem...)...)
}

// Close makes everything durable, leaves the closing mark and releases the directory. It is idempotent.
// The error says what may not be durable; the spool is closed all the same. Events in files that others have removed are
// in Counts().Lost from then on.
func (s *Spool) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	tail := s.tail
	s.mu.Unlock()
	err := errors.Join(s.Sync(0, tail), s.loseRemoved())
	s.mu.Lock()
	s.closed = true
	var done []*segment
	if a := s.active; a != nil {
		done = s.retireLocked(a)
	}
	for _, g := range s.segments {
		g.gone = true
		s.closeIfUnused(g)
	}
	s.unsynced = nil // all of it was tried above
	s.mu.Unlock()
	for _, g := range done {
		s.removeSegment(g)
	}
	s.dropSpare(s.takeSpare())
	wrote := s.WriteCursors()
	return errors.Join(err, wrote, s.cursors.close(wrote == nil), s.lock.Close(), s.closeDir())
}

// newSalt returns a number that cannot be guessed.
func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, by its contract
	return binary.LittleEndian.Uint64(b[:])
}
