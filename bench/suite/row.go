package suite

import (
	"fmt"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/proc"
)

// Row is one load on one target in one round.
type Row struct {
	Target string `json:"target"`
	Load   string `json:"load"`
	Round  int    `json:"round"`

	Offered      float64 `json:"offeredPerSecond,omitempty"` // events whose time came, in an open loop
	EventsPerSec float64 `json:"eventsPerSecond"`            // events in bodies answered 200
	BytesPerSec  float64 `json:"bytesPerSecond"`             // of these bodies
	EventsPerCPU float64 `json:"eventsPerCPUSecond"`         // user and system time of the process itself
	Cores        float64 `json:"cores"`                      // CPU time of the process per second
	Switches     float64 `json:"contextSwitchesPerSecond"`
	AllocsPerEv  float64 `json:"allocationsPerEvent"`
	RawPerEv     float64 `json:"rawBytesPerEvent,omitempty"`  // of delivered events, in a batch before compression; of ingest only
	WirePerEv    float64 `json:"wireBytesPerEvent,omitempty"` // as sent
	PeakRSS      int64   `json:"peakRSSBytes"`                // since the process began

	P50        float64 `json:"p50Millis"`
	P99        float64 `json:"p99Millis"`
	P999       float64 `json:"p999Millis"`
	Max        float64 `json:"maxMillis"`
	Refused    int64   `json:"refused"` // bodies answered otherwise than 200
	RefusedP99 float64 `json:"refusedP99Millis,omitempty"`
	NoReply    int64   `json:"withoutAnswer"`
	Failure    string  `json:"failure,omitempty"`             // of one of those without an answer
	Waited     float64 `json:"waitedForConnection,omitempty"` // share of the bodies
	Unsent     int64   `json:"unsent,omitempty"`

	GeneratorCPU float64       `json:"generatorEventsPerCPUSecond"`
	LateP99      float64       `json:"generatorLateP99Millis,omitempty"`
	Statuses     map[int]int64 `json:"statuses"`
	Acked        int64         `json:"acked"` // events answered 200, warming up and cooling down included

	Samples []Sample `json:"samples,omitempty"`
	Windows []Window `json:"windows,omitempty"`
	Problem string   `json:"problem,omitempty"`

	open int64 // requests whose outcome the client does not know
	acks int64 // bodies answered 200
}

// Window is a stretch of time of a load.
type Window struct {
	At      float64 `json:"at"` // seconds since the load began
	Events  float64 `json:"eventsPerSecond"`
	Refused float64 `json:"refusedPerSecond"` // bodies answered otherwise, or not
	P50     float64 `json:"p50Millis"`
	P99     float64 `json:"p99Millis"`
	P999    float64 `json:"p999Millis"`
}

func (r *Row) fill(phases []load.Result, measured int, before, after reading) {
	m := &phases[measured]
	seconds := m.Elapsed.Seconds()
	cpu := (after.cpu - before.cpu).Seconds()
	r.Offered = float64(m.Offered) / seconds
	r.EventsPerSec = m.EventsPerSecond()
	r.BytesPerSec = float64(m.Bytes) / seconds
	r.EventsPerCPU = ratio(float64(m.Events), cpu)
	r.Cores = cpu / seconds
	r.Switches = float64(after.switches-before.switches) / seconds
	r.AllocsPerEv = ratio(after.metrics[metricAllocations]-before.metrics[metricAllocations], float64(m.Events))
	delivered := after.metrics[metricDelivered] - before.metrics[metricDelivered]
	r.RawPerEv = ratio(after.metrics[metricRawBytes]-before.metrics[metricRawBytes], delivered)
	r.WirePerEv = ratio(after.metrics[metricWireBytes]-before.metrics[metricWireBytes], delivered)
	r.P50, r.P99 = millis(m.Latency.Quantile(0.5)), millis(m.Latency.Quantile(0.99))
	r.P999, r.Max = millis(m.Latency.Quantile(0.999)), millis(m.Latency.Max())
	r.Refused, r.NoReply = m.Answers()-m.Status[200], m.NoReply+m.Refused
	if r.NoReply > 0 && m.LastError != nil {
		r.Failure = m.LastError.Error()
	}
	r.RefusedP99 = millis(m.Refusal.Quantile(0.99))
	r.Waited = ratio(float64(m.Waited), float64(m.Waited)+float64(m.Late.Count()))
	r.LateP99 = millis(m.Late.Quantile(0.99))
	r.GeneratorCPU = ratio(float64(m.Events), (after.self - before.self).Seconds())
	r.Statuses = m.Status
	for i := range phases {
		p := &phases[i]
		r.Acked += p.Events
		r.acks += p.Bodies
		r.Unsent += p.Unsent
		r.open += p.NoReply
		for status, n := range p.Status {
			if status != 200 && status != 503 && (status < 400 || status > 499) {
				r.open += n
			}
		}
	}
}

// expect checks what a load promises.
func (r *Row) expect(e *Expect, m *load.Result, first float64) {
	switch {
	case e.PeakRSSMiB > 0 && float64(r.PeakRSS)/(1<<20) > e.PeakRSSMiB:
		r.Problem = fmt.Sprintf("peak RSS %.1f MiB, at most %.0f are allowed", float64(r.PeakRSS)/(1<<20), e.PeakRSSMiB)
	case e.Answered && m.NoReply+m.Refused+m.MissingRetryAfter > 0:
		r.Problem = fmt.Sprintf("%d requests without an answer, %d connections refused, %d answers 503 without Retry-After: %v",
			m.NoReply, m.Refused, m.MissingRetryAfter, m.LastError)
	case e.ShareOfFirst > 0 && r.EventsPerSec < e.ShareOfFirst*first:
		r.Problem = fmt.Sprintf("%.0f events/s, less than %.0f %% of %.0f", r.EventsPerSec, 100*e.ShareOfFirst, first)
	case e.RefusalP99 > 0 && m.Refusal.Quantile(0.99) > time.Duration(e.RefusalP99):
		r.Problem = fmt.Sprintf("a refusal takes %.2f ms (p99)", r.RefusedP99)
	}
}

// account is what a process was told to be answerable for, over all its loads.
type account struct {
	acked, bodies, open int64
}

func (a *account) add(r *Row) {
	a.acked += r.Acked
	a.bodies += r.acks
	a.open += r.open
}

// check compares what ingest answered with its ledger and with what is in the topics; "" when all is well.
func (a *account) check(code int, l *proc.Ledger, inTopic, inDeadLetters int64) string {
	resolved := l.Delivered + l.DeadLettered + l.SetAside + l.Spooled
	switch err := l.Balance(); {
	case err != nil:
		return err.Error()
	case inTopic < l.Delivered || inTopic > l.Delivered+l.PossibleDuplicates:
		return fmt.Sprintf("%d at the broker, the ledger says %d", inTopic, l.Delivered)
	case inDeadLetters < l.DeadLettered:
		return fmt.Sprintf("%d dead letters at the broker, the ledger says %d", inDeadLetters, l.DeadLettered)
	case resolved < a.acked:
		return fmt.Sprintf("%d acked, only %d delivered", a.acked, resolved)
	case a.open == 0 && resolved != a.acked:
		return fmt.Sprintf("%d acked, %d delivered", a.acked, resolved)
	case code != 0 && l.DroppedTotal() == 0:
		return fmt.Sprintf("exit code %d", code)
	case l.DroppedTotal() > 0:
		return fmt.Sprintf("dropped %v", l.Dropped)
	}
	return ""
}

// checkPeer is the check of a program of others, that has no ledger.
func (a *account) checkPeer(records string, inTopic int64) string {
	want := a.acked
	switch records {
	case "none":
		return ""
	case "bodies":
		want = a.bodies
	}
	if inTopic < want {
		return fmt.Sprintf("%d answered 200, %d records at the broker: %d lost", want, inTopic, want-inTopic)
	}
	if inTopic > want && a.open == 0 {
		return fmt.Sprintf("%d answered 200, %d records at the broker: %d too many", want, inTopic, inTopic-want)
	}
	return ""
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
