package spoolctl

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Verify reads every byte: the checksums of all frames, their batches down to the last record, the
// cursors, and whether set-aside files are what their names say. It writes one line for each thing that
// is wrong and a last one with the sums, and returns how many are wrong. The error is about reading or writing.
func Verify(s Source, w io.Writer) (bad int, err error) {
	var frames, records, torn int64
	complain := func(format string, args ...any) {
		s.Progress.End()
		bad++
		if _, werr := fmt.Fprintf(w, format+"\n", args...); err == nil {
			err = werr
		}
	}
	report, ierr := s.inspect(true, func(p *spool.Piece) error {
		if why, is := damaged(p.Kind); is {
			complain("%s: %s%s", place(p), why, owner(p))
			return err
		}
		switch p.Kind {
		case spool.KindTorn:
			torn++
		case spool.KindFrame, spool.KindDone, spool.KindVoid:
			if p.Frame.Batch == nil { // done and gone meanwhile
				return nil
			}
			frames++
			n, derr := decode(p, func(int64, []byte, []byte, []sink.Header) error { return nil })
			records += n
			if derr != nil {
				complain("%s: %v%s", place(p), derr, owner(p))
			}
		}
		return err
	})
	if ierr != nil {
		return bad, ierr
	}
	if report.CursorVersion != 0 {
		complain("cursors: format version %d, which this program cannot read: a start is refused", report.CursorVersion)
	}
	if report.BadCursors > 0 {
		complain("cursors: %d of %d have a damaged copy; frames of their partitions may be sent again", report.BadCursors, report.Cursors)
	}
	for _, f := range report.SetAside {
		if why := asideProblem(s.Dir, f.Name); why != "" {
			complain("setaside/%s: %s", printable.Text(f.Name), printable.Text(why))
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(w, "%d frames, %d records, %d set-aside files, %d torn ends: %d damaged\n", frames, records, len(report.SetAside), torn, bad)
	}
	return bad, err
}

// owner names the partition of a piece, as far as that is known.
func owner(p *spool.Piece) string {
	if p.Frame.Topic == "" {
		return ""
	}
	return fmt.Sprintf("; partition %d of %s, %d events", p.Frame.Partition, printable.Text(p.Frame.Topic), p.Frame.Events)
}

// decode yields the records of a frame and returns how many it had. An error of yield ends it.
func decode(p *spool.Piece, yield func(ts int64, key, value []byte, headers []sink.Header) error) (n int64, err error) {
	derr := recordbatch.Decode(p.Frame.Batch, recordbatch.MaxRecordsBytes, func(ts int64, key, value []byte, headers []sink.Header) bool {
		n++
		err = yield(ts, key, value, headers)
		return err == nil
	})
	switch {
	case err != nil:
		return n, err
	case derr != nil:
		return n, fmt.Errorf("%w: %w", errBatch, derr)
	case n != int64(p.Frame.Records):
		return n, fmt.Errorf("%w: %d records, want %d", errBatch, n, p.Frame.Records)
	}
	return n, nil
}

// asideProblem says what is wrong with a set-aside file; one that was taken away meanwhile is none.
func asideProblem(dir, name string) string {
	if strings.HasSuffix(name, ".tmp") {
		return "" // half a copy; the next start removes it
	}
	f, err := spool.OS{}.Open(filepath.Join(dir, "setaside", name), true)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err.Error()
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, size)); err != nil {
		return err.Error()
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != spool.SetAsideSum(name) {
		return "its content has the checksum " + got
	}
	return ""
}
