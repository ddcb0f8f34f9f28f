// Package spoolctl is what an operator does with a spool directory: list it, verify it, take the events
// out. It only reads; the directory may be a copy or one that a process is working in.
package spoolctl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/spool"
)

// Source is the directory to look at.
type Source struct {
	Dir      string
	Now      func() time.Time // for ages; nil: time.Now
	Progress *Progress        // nil: none
	Pause    func()           // nil: that of spool.Inspection
}

func (s Source) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// inspect walks the directory once it is certain that it is a spool: that nothing is wrong must not be
// the answer to a path with a typing error.
func (s Source) inspect(batches bool, yield func(*spool.Piece) error) (spool.Report, error) {
	if err := Check(s.Dir); err != nil {
		return spool.Report{}, err
	}
	defer s.Progress.End()
	return spool.Inspect(spool.Inspection{Dir: s.Dir, Batches: batches, Pause: s.Pause}, func(p *spool.Piece) error {
		s.Progress.At(p.Scanned, p.Total)
		return yield(p)
	})
}

// Check says whether dir is a spool directory.
func Check(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "cursors", name == "lock", name == "quarantine", name == "setaside",
			filepath.Ext(name) == ".seg", strings.HasSuffix(name, ".seg.free"):
			return nil
		}
	}
	return fmt.Errorf("%s is no spool directory: it has neither segments nor cursors", dir)
}

// unread reports whether the events of a piece, if it has any, cannot be had.
func unread(k spool.Kind) bool {
	return k == spool.KindCorrupt || k == spool.KindForeign || k == spool.KindUnreadable
}

// damaged reports whether a piece is not as it should be, and in which words. A torn end is none: it is a write that was
// cut short, or that is going on.
func damaged(k spool.Kind) (string, bool) {
	switch k {
	case spool.KindCorrupt:
		return "damaged bytes", true
	case spool.KindForeign:
		return "a segment of another version, which this one cannot read", true
	case spool.KindStray:
		return "not a segment, though its name ends like one: a start leaves it alone", true
	case spool.KindCopy:
		return "a second file of one segment: a start puts it into quarantine", true
	case spool.KindDisplaced:
		return "a segment with the number of another one, or one out of range: a start gives it a new one, and sends its frames, perhaps again", true
	case spool.KindUnreadable:
		return "the disk cannot read it", true
	default:
		return "", false
	}
}

// place is where a piece is, as quarantine names it.
func place(p *spool.Piece) string {
	return fmt.Sprintf("%s offset %#x (%d bytes)", printable.Text(p.Segment), uint32(p.Pos), p.Bytes)
}

// errBatch is what is wrong with a batch whose checksum is right.
var errBatch = errors.New("not the batch that its header describes")
