package spool

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// Kind is what a piece of a segment is.
type Kind string

// The kinds of pieces.
const (
	KindFrame      Kind = "frame"
	KindDone       Kind = "done"       // a frame that is done; its segment is not
	KindVoid       Kind = "void"       // was to replace a frame that is still there: it counts for nothing
	KindGap        Kind = "gap"        // frames that are done and whose space was given back
	KindCorrupt    Kind = "corrupt"    // damaged bytes
	KindTorn       Kind = "torn"       // the end was not written whole; in a live directory: not yet
	KindForeign    Kind = "foreign"    // a segment of another version, or of none
	KindUnreadable Kind = "unreadable" // a segment that the disk cannot read
	KindStray      Kind = "stray"      // has the suffix of a segment and is none; Open leaves it alone
	KindCopy       Kind = "copy"       // a second file of one segment; Open puts it into quarantine
	// KindDisplaced is a segment with a number that another one has, or one out of range. Its frames follow. Open
	// gives it a new number, and sends all of them, since no cursor tells which are done.
	KindDisplaced Kind = "displaced"
)

// Piece is a part of a segment, as Inspect found it. Its memory is valid until yield returns.
type Piece struct {
	Segment string // file name
	Kind    Kind
	Pos     Pos
	Bytes   int64
	// Frame is set for frames; for a damaged one as far as its header is whole. Batch only if asked for.
	Frame   Frame
	InDoubt bool
	Stamp   Stamp // of a frame in doubt

	// Progress: bytes of segments that were looked at, of all there were at the start.
	Scanned, Total int64
}

// Report is the sum of an inspection.
type Report struct {
	Segments   int
	Bytes      int64 // of segments
	Closed     bool  // it has the closing mark
	Cursors    int
	BadCursors int // slots with a damaged copy, or with none that is whole
	// CursorVersion is the version of a cursor file that this program cannot read; 0: it can.
	CursorVersion uint32
	Quarantine    []FileInfo
	SetAside      []FileInfo
}

// Inspection says what to inspect and how; the zero values of the optional fields are production.
type Inspection struct {
	Dir     string
	Batches bool   // frames come with their batch; one of a frame that was done meanwhile may be nil
	FS      FS     // default OS{}
	Pause   func() // between two looks at what seems damaged. Default: 50 ms
}

// Inspect walks a spool directory without changing anything or taking the lock: a copy as well as one
// that is in use, of which it sees some moment. yield gets every piece in order of position and ends the
// walk with an error, which Inspect returns.
//
// What a process does to the directory at that moment is looked at again before it is called damage: see
// looks for how far that goes.
func Inspect(opt Inspection, yield func(*Piece) error) (Report, error) {
	if opt.FS == nil {
		opt.FS = OS{}
	}
	if opt.Pause == nil {
		opt.Pause = func() { time.Sleep(pauseBetweenLooks) }
	}
	fsys, dir := opt.FS, opt.Dir
	in := inspection{fs: fsys, dir: dir, batches: opt.Batches, pause: opt.Pause, yield: yield, cursors: map[partition]cursor{}, there: map[Pos]bool{}}
	// First the cursors: what they say is done then certainly is.
	if err := in.readCursors(); err != nil {
		return in.report, err
	}
	d, err := readDirectory(fsys, dir)
	if err != nil {
		return in.report, err
	}
	if in.farthest > maxNumber {
		d.displaceAll()
	}
	for _, f := range d.segments {
		in.report.Segments++
		in.report.Bytes += f.Size
	}
	if in.report.Quarantine, err = listFolder(fsys, filepath.Join(dir, quarantineName)); err != nil {
		return in.report, err
	}
	if in.report.SetAside, err = listFolder(fsys, filepath.Join(dir, asideName)); err != nil {
		return in.report, err
	}
	for _, f := range d.segments {
		if err := in.segment(f); err != nil {
			return in.report, err
		}
		in.scanned += f.Size
	}
	return in.report, in.others(&d)
}

// listFolder lists the plain files of a folder of the spool; what is no folder has none.
func listFolder(fsys FS, dir string) ([]FileInfo, error) {
	list, err := fsys.List(dir)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	return plain(list), err
}

// others yields the entries that are no segments to Open.
func (in *inspection) others(d *directory) error {
	for _, f := range d.copies {
		p := Piece{Segment: f.Name, Kind: KindCopy, Pos: diskqueue.PosOf(f.number, 0), Bytes: f.Size, Scanned: in.scanned, Total: in.report.Bytes}
		if err := in.yield(&p); err != nil {
			return err
		}
	}
	for _, f := range d.strays {
		if err := in.yield(&Piece{Segment: f.Name, Kind: KindStray, Bytes: f.Size, Scanned: in.scanned, Total: in.report.Bytes}); err != nil {
			return err
		}
	}
	return nil
}

type inspection struct {
	fs      FS
	dir     string
	batches bool
	pause   func()
	yield   func(*Piece) error
	report  Report
	cursors map[partition]cursor
	there   map[Pos]bool // frames that are not done
	scanned int64
	strange bool // the present segment, see segment.strange
	// farthest is the greatest segment number in the cursors.
	farthest uint32
	sc       scanner
	buf      []byte
}

// looks is how often something is read that looks damaged, since it may be under way. Two looks at frames
// that agree are enough, with a pause between: a write takes microseconds, and its thread seldom loses its core
// in the middle of it. One that loses it for longer than the pause can still be taken for damage (and a
// cursor, for longer than all pauses): nothing in the file tells the two apart, and a second
// inspection does.
const (
	looks             = 5
	pauseBetweenLooks = 50 * time.Millisecond
)

func (in *inspection) readCursors() error {
	file, err := in.fs.Open(filepath.Join(in.dir, cursorName), true)
	if isNotExist(err) {
		return nil
	}
	if errors.Is(err, errSpecial) {
		in.report.Cursors, in.report.BadCursors = 1, 1
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return err
	}
	for look := range looks {
		if look > 0 {
			in.pause()
		}
		in.report.Cursors, in.report.BadCursors, in.report.CursorVersion = 0, 0, 0
		f, err := readCursors(file, size, in.cursor)
		in.report.Cursors += f.lost
		in.report.BadCursors += f.lost
		if f.whole && f.header.version != Version {
			in.report.CursorVersion = f.header.version
		}
		in.report.Closed = f.whole && f.header.state == stateClosed
		if err != nil || in.report.BadCursors == 0 {
			return err
		}
	}
	return nil
}

func (in *inspection) cursor(topic []byte, id int32, c cursor) {
	in.report.Cursors++
	if c.damaged {
		in.report.BadCursors++
	}
	in.farthest = max(in.farthest, c.done.Segment(), c.doubt.Segment())
	key := partition{string(topic), id}
	if old, ok := in.cursors[key]; !ok || c.seq > old.seq {
		in.cursors[key] = c
	}
}

// gone reports whether a segment has lost its name since the directory was listed: its frames were done, and
// its file may be another segment's by now. The name goes before the file is written to again, so bytes
// that were read while it was there are the segment's.
func (in *inspection) gone(f segmentFile) bool {
	file, err := in.fs.Open(filepath.Join(in.dir, f.Name), true)
	if err == nil {
		_ = file.Close() // only read
	}
	return isNotExist(err)
}

// segment walks one segment. One that is gone was done: that is how a live directory changes.
func (in *inspection) segment(f segmentFile) error {
	p := Piece{Segment: f.Name, Pos: diskqueue.PosOf(f.number, 0), Bytes: f.Size, Scanned: in.scanned, Total: in.report.Bytes}
	file, err := in.fs.Open(filepath.Join(in.dir, f.Name), true)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		p.Kind = KindUnreadable
		return in.yield(&p)
	}
	defer file.Close()
	if f.Size > maxSegmentBytes {
		f.Size = maxSegmentBytes
	}
	if p.Kind = in.judge(file, f); p.Kind != "" && in.gone(f) {
		return nil
	}
	if p.Kind == KindCorrupt {
		p.Bytes = segmentHeaderBytes // frames may follow all the same
	}
	if p.Kind != "" {
		if err := in.yield(&p); err != nil || p.Kind != KindCorrupt {
			return err
		}
	}
	if f.displaced {
		p.Kind = KindDisplaced
		if err := in.yield(&p); err != nil {
			return err
		}
	}
	for _, r := range in.regions(file, f) {
		if err := in.piece(file, f, &r); err != nil {
			return err
		}
	}
	return nil
}

// judge looks at a segment's header; "" is a good one.
func (in *inspection) judge(file File, f segmentFile) Kind {
	sc := &in.sc
	sc.start(file, f.Size, f.salt)
	head, err := sc.at(0, segmentHeaderBytes)
	var h segmentHeader
	in.strange = f.displaced
	switch {
	case err != nil:
		return KindUnreadable
	case h.parse(head) && h.version != Version:
		return KindForeign
	case h.parse(head) && h.salt == f.salt:
		in.strange = in.strange || h.number != f.number
		return ""
	case h.parse(head) && !sc.begun(), sc.zeros(0) || f.Size < segmentHeaderBytes:
		return KindTorn
	default:
		return KindCorrupt
	}
}

// regions scans a segment until two scans agree on what is damaged. In a directory that is in use a
// header may be half written where the scan is, and blocks of frames that are done may be given back
// behind a gap that the scan has passed. None when the segment is gone.
func (in *inspection) regions(file File, f segmentFile) []region {
	var all []region
	var bad, before []int64
	topics := map[string][]byte{}
	for look := range looks {
		if look > 0 {
			in.pause()
		}
		all, bad, before = all[:0], bad[:0], append(before[:0], bad...)
		suspect := false
		in.sc.start(file, f.Size, f.salt)
		for r, ok := in.sc.next(); ok && r.kind != regionEnd; r, ok = in.sc.next() {
			if topics[string(r.topic)] == nil {
				topics[string(r.topic)] = slices.Clone(r.topic)
			}
			r.topic = topics[string(r.topic)]
			all = append(all, r)
			suspect = suspect || r.kind == regionTorn
			if r.kind == regionCorrupt {
				bad = append(bad, r.off)
			}
		}
		if (suspect || len(bad) > 0) && in.gone(f) {
			return nil
		}
		if slices.Equal(bad, before) {
			break
		}
	}
	return all
}

func (in *inspection) piece(file File, f segmentFile, r *region) error {
	p := Piece{Segment: f.Name, Pos: diskqueue.PosOf(f.number, r.off), Bytes: r.length, Scanned: in.scanned + r.off, Total: in.report.Bytes}
	p.Frame = Frame{Topic: string(r.topic), Partition: r.header.partition, Meta: r.header.Meta}
	switch r.kind {
	case regionGap:
		p.Kind = KindGap
	case regionTorn:
		p.Kind = KindTorn
	case regionCorrupt:
		p.Kind = KindCorrupt
	case regionFrame:
		if err := in.frame(file, f, &p, r); err != nil || p.Kind == "" {
			return err
		}
	}
	return in.yield(&p)
}

// frame completes the piece of a whole frame; its kind stays "" when the segment is gone.
func (in *inspection) frame(file File, f segmentFile, p *Piece, r *region) error {
	whole := !in.batches || in.batch(file, p, r)
	if !whole {
		p.Frame.Batch = nil
		if in.gone(f) {
			return nil
		}
		// Its blocks are given back when it is done, so the cursor says so by now.
		if err := in.readCursors(); err != nil {
			return err
		}
	}
	var c cursor
	if !f.displaced {
		c = in.cursors[partition{p.Frame.Topic, p.Frame.Partition}]
	}
	switch {
	case p.Pos <= c.done:
		p.Kind = KindDone
	case !whole:
		p.Kind = KindUnreadable
	case in.there[r.replaces] && !in.strange:
		p.Kind = KindVoid
	default:
		p.Kind = KindFrame
		in.there[p.Pos] = !f.displaced
	}
	if p.InDoubt = c.doubt != 0 && p.Pos == c.doubt; p.InDoubt {
		p.Stamp = c.stamp
	}
	return nil
}

// batch reads a frame's batch again; the scan has checked it already but does not keep it.
func (in *inspection) batch(file File, p *Piece, r *region) bool {
	if n := int(r.header.batchLen); cap(in.buf) < n {
		in.buf = make([]byte, n)
	}
	p.Frame.Batch = in.buf[:r.header.batchLen]
	if len(p.Frame.Batch) == 0 {
		return true
	}
	_, err := file.ReadAt(p.Frame.Batch, r.off+r.length-int64(r.header.batchLen))
	return (err == nil || err == io.EOF) && checksum(p.Frame.Batch) == r.header.batchCRC
}

// SetAsideSum is the SHA-256, in hexadecimal, of what a set-aside file should have in it.
func SetAsideSum(name string) string { return strings.TrimSuffix(name, asideSuffix) }
