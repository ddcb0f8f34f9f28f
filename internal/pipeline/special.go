package pipeline

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"functiongraph-ingest/pkg/decode"
)

// maxOwn bounds the logs that are looked at for own lines: ours are far shorter, even many at once.
const maxOwn = 64 << 10

// special looks at an event of the platform or of an extension; most events are the function's and never
// come here. true: it is left out of the delivery.
func (dec *decoder) special(at int64) (leaveOut bool) {
	p := dec.p
	dec.note(at)
	switch dec.e.Kind {
	case decode.Extension:
		if p.ownLog != nil && dec.own() {
			p.ownLines.Add(1)
			return true
		}
	case decode.Start:
		if p.invocations != nil {
			p.invocations.Start(dec.e.Key(nil), at)
		}
	case decode.RestoreStart, decode.RestoreRuntimeDone, decode.RestoreReport:
		if p.invocations != nil { // else it is about another machine
			p.renew(time.Now(), dec.e.Kind.Name())
		}
	case decode.RuntimeDone, decode.Report:
		if p.invocations != nil {
			p.invocations.End(dec.e.Key(nil))
			dec.ended = true
		}
	}
	return false
}

// own reports whether the event at hand holds nothing but our own log lines.
func (dec *decoder) own() bool {
	raw := dec.e.Logs()
	if len(raw) > maxOwn || !dec.p.ownLog.MayHold(raw) {
		return false
	}
	logs, err := dec.e.AppendLogs(dec.logs[:0])
	if err != nil {
		return false
	}
	dec.logs = logs
	return dec.p.ownLog.Own(logs)
}

// lastEnded is called when a body that ended an invocation has been appended. If none is left open there
// may be no invocation to send more, and the instance may be frozen: what is there goes at once.
func (p *Pipeline) lastEnded(at int64) {
	if p.invocations.Quiet(at) {
		p.idleFlushes.Add(1)
		p.sink.Flush()
	}
}

// invoked takes an invocation event: {"traceId":…,"invokedFunctionUrn":…}. It runs in the request's
// handler, because the invocation is to be open before the function starts to work. Of what is not as documented only
// the intervals hear, because it may announce an invocation; for the rest platform.start comes too.
func (p *Pipeline) invoked(data []byte) {
	p.Wake()
	var d decode.Decoder
	var e decode.Event
	d.Reset(bytes.TrimSpace(data), decode.Options{Lenient: true})
	if !d.Next(&e) || e.Reason != decode.OK {
		if p.intervals != nil {
			p.intervals.Announce(nil, time.Now().UnixMilli())
		}
	} else {
		var event struct {
			URN string `json:"invokedFunctionUrn"`
		}
		if p.onURN != nil && json.Unmarshal(e.Raw(), &event) == nil && event.URN != "" {
			p.onURN(strings.TrimSpace(event.URN))
		}
		id, now := e.Key(nil), time.Now().UnixMilli()
		p.look(now)
		p.invocations.Start(id, now)
		if p.intervals != nil {
			p.intervals.Announce(id, now)
		}
	}
}
