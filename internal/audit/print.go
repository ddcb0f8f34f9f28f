package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"functiongraph-ingest/internal/printable"
)

// WriteJSON prints the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// maxRows bounds the table; starts that are not complete come first in it.
const maxRows = 200

// WriteText prints a table, what is wrong, and the verdict as the last line.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "start\tinstance\tstate\tnumbers\tdelivered\tdead\tset aside\tlost\tmissing\tdoubled\tdisordered\tunproven\t")
	rows, left := 0, 0
	for _, bad := range []bool{true, false} {
		for i := range r.Starts {
			s := &r.Starts[i]
			if s.Complete == bad {
				continue
			}
			if rows++; rows > maxRows {
				left++
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", printable.Text(s.ID), printable.Text(s.Instance), s.State, span([2]int64{s.From, s.Numbers}),
				s.Delivered, s.DeadLettered, s.SetAside, s.Lost, s.Missing, s.Doubled, s.Disordered, s.Unproven)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(w, "%d more starts are complete or not shown (--json has all)\n", left)
	}
	for i := range r.Starts {
		r.Starts[i].explain(w)
	}
	if r.Unnumbered > 0 {
		fmt.Fprintf(w, "%d records have no number: they were written without --headers, or by another program\n", r.Unnumbered)
	}
	if !r.Complete && !r.Gone.IsZero() {
		fmt.Fprintf(w, "the beginning of a partition is gone, by the topic's retention or deleted: what is older than its first record cannot be judged; --since=%s leaves that out\n",
			r.Gone.Add(time.Second).Format(time.RFC3339))
	}
	if r.Partial {
		fmt.Fprintln(w, "the beginning of a topic was not read or is gone: each start is judged from its first mark on. Topics of different retention are compared with --since within the shortest")
	}
	verdict := "complete"
	if !r.Complete {
		verdict = "not complete"
	}
	_, err := fmt.Fprintf(w, "%s: %d records of %d starts\n", verdict, r.Records, len(r.Starts))
	return err
}

// explain says what is wrong with one start, and what it means.
func (s *Start) explain(w io.Writer) {
	id := printable.Text(s.ID)
	for _, g := range s.Gaps {
		fmt.Fprintf(w, "%s: not there: %s\n", id, span(g))
	}
	for _, e := range s.Examples {
		fmt.Fprintf(w, "%s: %s: number %d at offset %d of partition %d of %s\n", id, e.What, e.Number, e.Offset, e.Partition, printable.Text(e.Topic))
	}
	switch {
	case s.State == Open:
		fmt.Fprintf(w, "%s: its last mark is missing: it still runs, was killed and not started again, waits on disk (ingest spool replay), or the tail of the topic is gone\n", id)
	case s.State == Continued && s.Proven <= s.From:
		fmt.Fprintf(w, "%s: nothing of it must be in the range that was read\n", id)
	case s.State == Killed && s.Proven == 0:
		fmt.Fprintf(w, "%s: it was killed before its first mark: nothing says what must be there\n", id)
	case s.State == Killed:
		fmt.Fprintf(w, "%s: it was killed; proven up to number %d, its last mark. Of later ones %d are not there: they were in memory, or are gone\n", id, s.Proven, s.Unproven)
	}
}

// span is a half-open range of numbers as text.
func span(r [2]int64) string {
	if r[1]-r[0] <= 1 {
		return strconv.FormatInt(r[0], 10)
	}
	return strconv.FormatInt(r[0], 10) + "-" + strconv.FormatInt(r[1]-1, 10)
}
