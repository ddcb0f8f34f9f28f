package spool

import (
	"io"
	"path/filepath"
	"strings"
)

// Kind is what a piece of a segment is.
type Kind string

// The kinds of pieces.
const (
	KindFrame      Kind = "frame"
	KindDone       Kind = "done"       // a frame that is done; its segment is not
	KindGap        Kind = "gap"        // frames that are done and whose space was given back
	KindCorrupt    Kind = "corrupt"    // damaged bytes
	KindTorn       Kind = "torn"       // the end was not written whole; in a live directory: not yet
	KindForeign    Kind = "foreign"    // a segment of another version, or of none
	KindUnreadable Kind = "unreadable" // a segment that the disk cannot read
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
	BadCursors int // slots with a damaged copy
	Quarantine []FileInfo
	SetAside   []FileInfo
}

// Inspect walks a spool directory without changing anything or taking the lock: a copy as well as one
// that is in use, of which it sees some moment. yield gets every piece in order of position and ends the
// walk with an error, which Inspect returns. With batches, frames come with their batch.
func Inspect(fsys FS, dir string, batches bool, yield func(*Piece) error) (Report, error) {
	in := inspection{fs: fsys, dir: dir, batches: batches, yield: yield, cursors: map[partition]cursor{}}
	// First the cursors: what they say is done then certainly is.
	if err := in.readCursors(); err != nil {
		return in.report, err
	}
	files, err := segmentFiles(fsys, dir)
	if err != nil {
		return in.report, err
	}
	for _, f := range files {
		in.report.Segments++
		in.report.Bytes += f.Size
	}
	if in.report.Quarantine, err = fsys.List(filepath.Join(dir, quarantineName)); err != nil {
		return in.report, err
	}
	if in.report.SetAside, err = fsys.List(filepath.Join(dir, asideName)); err != nil {
		return in.report, err
	}
	for _, f := range files {
		if err := in.segment(f); err != nil {
			return in.report, err
		}
		in.scanned += f.Size
	}
	return in.report, nil
}

type inspection struct {
	fs      FS
	dir     string
	batches bool
	yield   func(*Piece) error
	report  Report
	cursors map[partition]cursor
	scanned int64
	sc      scanner
	buf     []byte
}

func (in *inspection) readCursors() error {
	file, err := in.fs.Open(filepath.Join(in.dir, cursorName), true)
	if isNotExist(err) {
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
	f, err := readCursors(file, size, func(topic []byte, id int32, c cursor) {
		in.report.Cursors++
		if c.damaged {
			in.report.BadCursors++
		}
		key := partition{string(topic), id}
		if old, ok := in.cursors[key]; !ok || c.seq > old.seq {
			in.cursors[key] = c
		}
	})
	in.report.Closed = f.whole && f.header.state == stateClosed
	return err
}

// segment walks one segment. One that is gone was done: that is how a live directory changes.
func (in *inspection) segment(f segmentFile) error {
	p := Piece{Segment: f.Name, Pos: makePos(f.number, 0), Bytes: f.Size, Scanned: in.scanned, Total: in.report.Bytes}
	file, err := in.fs.Open(filepath.Join(in.dir, f.Name), true)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		p.Kind = KindUnreadable
		return in.yield(&p)
	}
	defer file.Close()
	sc := &in.sc
	sc.start(file, f.Size, f.salt)
	head, err := sc.at(0, segmentHeaderBytes)
	var h segmentHeader
	switch {
	case err != nil:
		p.Kind = KindUnreadable
	case h.parse(head) && h.version != Version:
		p.Kind = KindForeign
	case h.parse(head) && h.number == f.number && h.salt == f.salt:
	case h.parse(head) && !sc.begun():
		p.Kind = KindTorn
	case sc.zeros(0) || f.Size < segmentHeaderBytes:
		p.Kind = KindTorn
	default:
		p.Kind, p.Bytes = KindCorrupt, segmentHeaderBytes
		if err := in.yield(&p); err != nil {
			return err
		}
		p.Kind = ""
	}
	if p.Kind != "" {
		return in.yield(&p)
	}
	sc.start(file, f.Size, f.salt)
	return in.pieces(file, f)
}

func (in *inspection) pieces(file File, f segmentFile) error {
	for {
		r, ok := in.sc.next()
		if !ok || r.kind == regionEnd {
			return nil
		}
		p := Piece{Segment: f.Name, Pos: makePos(f.number, r.off), Bytes: r.length, Scanned: in.scanned + r.off, Total: in.report.Bytes}
		p.Frame = Frame{Topic: string(r.topic), Partition: r.header.partition, Meta: r.header.Meta}
		switch r.kind {
		case regionGap:
			p.Kind = KindGap
		case regionTorn:
			p.Kind = KindTorn
		case regionCorrupt:
			p.Kind = KindCorrupt
		case regionFrame:
			p.Kind = KindFrame
			c := in.cursors[partition{p.Frame.Topic, p.Frame.Partition}]
			if p.Pos <= c.done {
				p.Kind = KindDone
			}
			if p.InDoubt = p.Pos == c.doubt; p.InDoubt {
				p.Stamp = c.stamp
			}
			if in.batches && !in.batch(file, &p, &r) {
				p.Kind = KindUnreadable
			}
		}
		if err := in.yield(&p); err != nil {
			return err
		}
	}
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
