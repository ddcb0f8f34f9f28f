package spoolctl

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/spool"
)

// Listing is what is in a spool directory. Its JSON is the output of `ingest spool ls --json`.
type Listing struct {
	Partitions []Partition `json:"partitions"` // by topic and number
	Total      Partition   `json:"total"`
	Segments   int         `json:"segments"`
	Bytes      int64       `json:"bytes"`  // of segments
	Closed     bool        `json:"closed"` // the last process left it in order, and none is in it
	BadCursors int         `json:"badCursors"`
	Damaged    Region      `json:"damaged"` // Verify says where
	Torn       Region      `json:"torn"`
	Quarantine []File      `json:"quarantine"`
	SetAside   []File      `json:"setAside"`

	at time.Time
}

// Partition is one queue. Counts and ages are those of frames that are still to be sent.
type Partition struct {
	Topic     string     `json:"topic,omitempty"`
	Partition int32      `json:"partition"`
	Frames    int64      `json:"frames"`
	Events    int64      `json:"events"`
	Records   int64      `json:"records"`
	Bytes     int64      `json:"bytes"`
	Oldest    *time.Time `json:"oldest,omitempty"` // first records of the oldest and newest frame
	Newest    *time.Time `json:"newest,omitempty"`
	Done      int64      `json:"done"` // frames that are sent and whose segment is still there
	InDoubt   int64      `json:"inDoubt"`
}

// Region sums up pieces that are no frames.
type Region struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

func (r *Region) add(n int64) { r.Count++; r.Bytes += n }

// File is one file that was set aside or quarantined.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// List reads the directory, checksums included.
func List(s Source) (*Listing, error) {
	type key struct {
		topic string
		id    int32
	}
	l := &Listing{at: s.now(), Partitions: []Partition{}}
	index := map[key]*Partition{}
	report, err := s.inspect(false, func(p *spool.Piece) error {
		if _, bad := damaged(p.Kind); bad {
			l.Damaged.add(p.Bytes)
		}
		switch p.Kind {
		case spool.KindTorn:
			l.Torn.add(p.Bytes)
		case spool.KindFrame, spool.KindDone:
			k := key{p.Frame.Topic, p.Frame.Partition}
			if index[k] == nil {
				index[k] = &Partition{Topic: k.topic, Partition: k.id}
			}
			index[k].add(p)
			l.Total.add(p)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range index {
		l.Partitions = append(l.Partitions, *p)
	}
	slices.SortFunc(l.Partitions, func(a, b Partition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	l.Segments, l.Bytes, l.Closed, l.BadCursors = report.Segments, report.Bytes, report.Closed, report.BadCursors
	l.Quarantine, l.SetAside = files(report.Quarantine), files(report.SetAside)
	return l, nil
}

func (q *Partition) add(p *spool.Piece) {
	if p.Kind == spool.KindDone {
		q.Done++
		return
	}
	q.Frames++
	q.Events += int64(p.Frame.Events)
	q.Records += int64(p.Frame.Records)
	q.Bytes += p.Bytes
	if p.InDoubt {
		q.InDoubt++
	}
	at := time.UnixMilli(p.Frame.FirstTimestamp).UTC()
	if q.Oldest == nil || at.Before(*q.Oldest) {
		q.Oldest = &at
	}
	if q.Newest == nil || at.After(*q.Newest) {
		q.Newest = &at
	}
}

func files(in []spool.FileInfo) []File {
	out := make([]File, len(in))
	for i, f := range in {
		out[i] = File{f.Name, f.Size}
	}
	return out
}

// WriteJSON writes the listing as one JSON object.
func (l *Listing) WriteJSON(w io.Writer) error {
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(printable.AppendJSON(nil, text), '\n'))
	return err
}

// WriteText writes the listing for people.
func (l *Listing) WriteText(w io.Writer) error {
	rows := [][]string{{"TOPIC", "PARTITION", "FRAMES", "EVENTS", "RECORDS", "SIZE", "OLDEST", "NEWEST", "DONE", "IN DOUBT"}}
	for i := range l.Partitions {
		p := &l.Partitions[i]
		rows = append(rows, append([]string{printable.Text(p.Topic), number(int64(p.Partition))}, l.columns(p)...))
	}
	rows = append(rows, append([]string{"total", ""}, l.columns(&l.Total)...))
	var b strings.Builder
	table(&b, rows)
	state := "not closed: in use, or its process was killed"
	if l.Closed {
		state = "closed in order"
	}
	fmt.Fprintf(&b, "\nsegments: %d, %s; %s\n", l.Segments, size(l.Bytes), state)
	if l.Torn.Count > 0 {
		fmt.Fprintf(&b, "torn ends: %d, %s (writes that go on or were cut short; no damage)\n", l.Torn.Count, size(l.Torn.Bytes))
	}
	if l.Damaged.Count > 0 || l.BadCursors > 0 {
		fmt.Fprintf(&b, "damaged: %d regions, %s; %d cursors (ingest spool verify says where)\n", l.Damaged.Count, size(l.Damaged.Bytes), l.BadCursors)
	}
	section(&b, "quarantine", l.Quarantine)
	section(&b, "set aside", l.SetAside)
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Listing) columns(p *Partition) []string {
	return []string{number(p.Frames), number(p.Events), number(p.Records), size(p.Bytes),
		l.age(p.Oldest), l.age(p.Newest), number(p.Done), number(p.InDoubt)}
}

// age is in whole seconds; a clock that went back gives 0s.
func (l *Listing) age(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return max(l.at.Sub(*t), 0).Truncate(time.Second).String()
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func section(b *strings.Builder, title string, list []File) {
	if len(list) == 0 {
		return
	}
	sum := int64(0)
	for _, f := range list {
		sum += f.Bytes
	}
	fmt.Fprintf(b, "%s: %d files, %s\n", title, len(list), size(sum))
	for _, f := range list {
		fmt.Fprintf(b, "  %s  %s\n", printable.Text(f.Name), size(f.Bytes))
	}
}

// table sets the first column to the left and the others, which are numbers, to the right.
func table(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for _, row := range rows {
		fmt.Fprintf(b, "%-*s", width[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(b, "  %*s", width[i+1], cell)
		}
		b.WriteByte('\n')
	}
}
