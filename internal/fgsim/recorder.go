package fgsim

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"time"

	"functiongraph-ingest/internal/simulator"
)

// Recorder hears of every attempt to post a body. Its method is called by several goroutines, by one at a
// time for the same body.
type Recorder interface {
	// Posted is called after each attempt with its status, 0 when there was no answer, and the time from the
	// beginning of the request to the end of the answer. A body that is posted again (sent again, or twice)
	// is heard of again. d is valid until Posted returns.
	Posted(d *simulator.Delivery, status int, took time.Duration)
}

// Journal is a Recorder that writes a line of JSON for every event of every attempt. It is for judges that
// are not written in Go.
type Journal struct {
	mu  sync.Mutex
	enc *json.Encoder
	err error
}

// NewJournal returns a journal that writes to w.
func NewJournal(w io.Writer) *Journal {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &Journal{enc: enc}
}

type journalLine struct {
	ID      string `json:"eventId"`
	Name    string `json:"name"`
	TraceID string `json:"traceId,omitempty"`
	Broken  string `json:"broken,omitempty"`
	Status  int    `json:"status"`
	Raw     string `json:"raw"` // bytes that are no UTF-8 are replaced
}

// Posted implements [Recorder].
func (j *Journal) Posted(d *simulator.Delivery, status int, _ time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range d.Events {
		e := &d.Events[i]
		line := journalLine{ID: e.ID.String(), Name: e.Kind.String(), TraceID: e.Key, Status: status, Raw: string(bytes.ToValidUTF8(d.Raw(e), []byte("\uFFFD")))}
		if e.Broken != simulator.Intact {
			line.Broken = e.Broken.String()
		}
		if err := j.enc.Encode(line); err != nil && j.err == nil {
			j.err = err
		}
	}
}

// Err is the first error of the writer.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}
