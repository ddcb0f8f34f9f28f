package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/pkg/sink"
)

// Health answers the three questions that are asked of a process. It knows no server, so that several can mount it:
// [Health.Answer] is all there is.
//
//	/healthz  is the process alive?                                   200
//	/readyz   would a delivery that comes now be answered 200?        200, or 503 with the reason
//	/status   do events reach Kafka, and if not, why and what helps?  200, JSON
//
// The functions must be safe for concurrent use.
type Health struct {
	Ready    func() error // nil: ready; else the reason why not
	Wake     func()       // called by /readyz alone: its answer decides whether events come at all. nil: nothing rests
	Delivery func() sink.Delivery
	Ledger   func() ledger.Ledger
	Inside   func() sink.Inside // partitions and the last dead letters; nil: the sink has none to show
	Version  string
	Started  time.Time
}

// Status is what /status answers. Times are RFC 3339.
type Status struct {
	Version       string        `json:"version"`
	Started       time.Time     `json:"started"`
	UptimeSeconds float64       `json:"uptimeSeconds"`
	Ready         bool          `json:"ready"`
	NotReady      string        `json:"notReady,omitempty"` // why not
	Delivery      sink.Delivery `json:"delivery"`
	Ledger        ledger.Ledger `json:"ledger"`
	*sink.Inside                // nil: nothing
}

// Reply is an answer to a GET.
type Reply struct {
	Status      int
	ContentType string
	Body        []byte
}

// Answer answers a GET of path; false: it is none of the three.
func (h *Health) Answer(path string) (Reply, bool) {
	switch path {
	case "/healthz":
		return Reply{http.StatusOK, plain, []byte("alive\n")}, true
	case "/readyz":
		return h.ready(), true
	case "/status":
		return Reply{http.StatusOK, "application/json", h.status()}, true
	}
	return Reply{}, false
}

// ready is the verdict in the first line, and what there is to say about the delivery in the others.
func (h *Health) ready() Reply {
	if h.Wake != nil {
		h.Wake()
	}
	status, text := http.StatusOK, "ready\n"
	if err := h.Ready(); err != nil {
		status, text = http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n"
	}
	d := h.Delivery()
	text += "delivery: " + d.State.String()
	if d.SpooledEvents > 0 {
		text += fmt.Sprintf(", %d events on disk", d.SpooledEvents)
	}
	text += told(d.Trouble) + "\n"
	if d.DeadLetters.Kind != "" {
		text += "dead letters" + told(d.DeadLetters) + "\n"
	}
	if d.Spool.Kind != "" {
		text += "spool" + told(d.Spool) + "\n"
	}
	return Reply{status, plain, []byte(text)}
}

// told is a trouble behind the name of what has it; "": none.
func told(t sink.Trouble) string {
	if t.Kind == "" {
		return ""
	}
	return ": " + t.Reason + ": " + t.Remedy
}

func (h *Health) status() []byte {
	s := Status{
		Version: h.Version, Started: h.Started.UTC().Truncate(time.Millisecond), UptimeSeconds: time.Since(h.Started).Truncate(time.Millisecond).Seconds(),
		Delivery: h.Delivery(), Ledger: h.Ledger(),
	}
	if h.Inside != nil {
		in := h.Inside()
		s.Inside = &in
	}
	if err := h.Ready(); err != nil {
		s.NotReady = err.Error()
	}
	s.Ready = s.NotReady == ""
	b, err := json.Marshal(s)
	if err != nil {
		panic("admin: " + err.Error()) // numbers, strings and times: cannot fail
	}
	return append(b, '\n')
}

// ServeHTTP implements http.Handler.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply, ok := h.Answer(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	answer(w, reply.Status, reply.ContentType, string(reply.Body))
}
