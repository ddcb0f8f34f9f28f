package simulator

// Delivery is one POST, and what is in it.
type Delivery struct {
	Body   []byte
	NDJSON bool    // one object per line; else an array or a lone object
	Events []Event // good and broken, in the order of the body

	// Begun are the traceIds of the invocations that have started since the delivery before. The platform
	// tells the extension of each before it sends events of it.
	Begun []string
}

// Event is one event of a delivery.
type Event struct {
	ID   ID
	Kind Kind   // of the event, or of what it would be were it not broken
	Key  string // traceId; "" when the event has none, and of broken ones, which have no key
	// Invocation is the traceId of the invocation that it is of, whether or not the event says so; "" for none.
	Invocation string
	Slip       Slip
	Broken     Breakage // Intact for a good event

	Printed bool // made of a line that an extension really printed, see [Generator.Logs]

	start, stop int // in the body
}

// Raw is the event byte for byte: for a good one what must reach the topic, for a broken one what must
// reach the dead letters. It is a view into the body.
func (d *Delivery) Raw(e *Event) []byte { return d.Body[e.start:e.stop:e.stop] }

// ContentType is the media type to send the body with.
func (d *Delivery) ContentType() string {
	if d.NDJSON {
		return "application/x-ndjson"
	}
	return "application/json"
}

// Count is the number of good events and of regions that are none.
func (d *Delivery) Count() (good, bad int) {
	for i := range d.Events {
		if d.Events[i].Broken != Intact {
			bad++
		}
	}
	return len(d.Events) - bad, bad
}

func (d *Delivery) reset() { *d = Delivery{Body: d.Body[:0], Events: d.Events[:0], Begun: d.Begun[:0]} }

// begin writes what separates e from the event before it.
func (d *Delivery) begin(e *Event) {
	if len(d.Events) > 0 {
		if d.NDJSON {
			d.Body = append(d.Body, '\n')
		} else {
			d.Body = append(d.Body, ',')
		}
	}
	e.start = len(d.Body)
}

func (d *Delivery) end(e *Event) {
	e.stop = len(d.Body)
	d.Events = append(d.Events, *e)
}
