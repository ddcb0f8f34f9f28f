package spoolctl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink"
)

// Filter chooses records.
type Filter struct {
	Topics     []string  // empty: all, without dead letters
	Partitions []int32   // empty: all
	Since      time.Time // records with this timestamp or a later one; zero: all
	WithMeta   bool
}

// Exported is what became of the records that the filter chose.
type Exported struct {
	Records     int64
	DeadLetters int64 // left out because no topic was chosen
	Damaged     int64 // regions of the whole spool that could not be read
}

// deadLetterHeader marks a dead letter, whatever its topic is called.
const deadLetterHeader = "ingest-reason"

// meta is a line of an export with everything that the record had.
type meta struct {
	Topic     string       `json:"topic"`
	Partition int32        `json:"partition"`
	Key       *text        `json:"key"` // null: none
	Timestamp time.Time    `json:"timestamp"`
	Headers   []metaHeader `json:"headers"`
	Value     text         `json:"value"`
}

type metaHeader struct {
	Key   string `json:"key"`
	Value text   `json:"value"`
}

// text is bytes as a JSON string, or as {"base64":"…"} when they are not UTF-8.
type text []byte

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		return json.Marshal(string(t))
	}
	return json.Marshal(struct {
		Base64 []byte `json:"base64"`
	}{t})
}

// Export writes the records that are still to be sent, one line each, in the order of their partitions.
// Without meta a line is the value if it is JSON in UTF-8, with blanks for the line breaks between its tokens; else
// (a dead letter) it is a text or {"base64":"…"}. Characters that a terminal may act on are escaped.
func Export(s Source, f Filter, w io.Writer) (Exported, error) {
	var sum Exported
	out := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	_, err := s.inspect(true, func(p *spool.Piece) error {
		if unread(p.Kind) {
			sum.Damaged++
		}
		if p.Kind != spool.KindFrame || !f.frame(&p.Frame) {
			return nil
		}
		_, err := decode(p, func(ts int64, key, value []byte, headers []sink.Header) (err error) {
			if ts < f.Since.UnixMilli() && !f.Since.IsZero() {
				return nil
			}
			if len(f.Topics) == 0 && slices.ContainsFunc(headers, func(h sink.Header) bool { return h.Key == deadLetterHeader }) {
				sum.DeadLetters++
				return nil
			}
			if f.WithMeta {
				line, err = appendMeta(line[:0], &p.Frame, ts, key, value, headers)
			} else {
				line, err = appendValue(line[:0], value)
			}
			if err != nil {
				return err
			}
			sum.Records++
			_, err = out.Write(append(line, '\n'))
			return err
		})
		if errors.Is(err, errBatch) { // the records in front of the break are out
			sum.Damaged++
			return nil
		}
		return err
	})
	return sum, errors.Join(err, out.Flush())
}

func (f *Filter) frame(fr *spool.Frame) bool {
	return (len(f.Topics) == 0 || slices.Contains(f.Topics, fr.Topic)) &&
		(len(f.Partitions) == 0 || slices.Contains(f.Partitions, fr.Partition))
}

func appendMeta(dst []byte, f *spool.Frame, ts int64, key, value []byte, headers []sink.Header) ([]byte, error) {
	m := meta{Topic: f.Topic, Partition: f.Partition, Timestamp: time.UnixMilli(ts).UTC(), Value: value, Headers: []metaHeader{}}
	if key != nil {
		m.Key = (*text)(&key)
	}
	for _, h := range headers {
		m.Headers = append(m.Headers, metaHeader{h.Key, h.Value})
	}
	return appendJSON(dst, m)
}

// appendJSON is json.Marshal without its escapes for HTML.
func appendJSON(dst []byte, v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return printable.AppendJSON(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))), err
}

func appendValue(dst, v []byte) ([]byte, error) {
	if !json.Valid(v) || !utf8.Valid(v) {
		return appendJSON(dst, text(v))
	}
	at := len(dst)
	dst = printable.AppendJSON(dst, v)
	for i, c := range dst[at:] { // valid: a raw line break is between tokens
		if c == '\n' || c == '\r' {
			dst[at+i] = ' '
		}
	}
	return dst, nil
}
