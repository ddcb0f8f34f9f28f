package pipeline

import (
	"bytes"

	"functiongraph-ingest/pkg/decode"
)

// Topics says where events go by their category, each as [sink.Record.Topic] does. The zero value is one topic for all.
type Topics struct{ Platform, Function, Extension int }

// topics has the topic of each kind of event.
type topics [decode.Extension + 1]int

func (t Topics) table() (all topics) {
	for k := decode.InitStart; k <= decode.RestoreReport; k++ {
		all[k] = t.Platform
	}
	all[decode.Function], all[decode.Extension] = t.Function, t.Extension
	return all
}

// platform begins the names of all events of the platform.
var platform = []byte("platform.")

// topic is the topic of the event or bad region at hand. What is no event of the telemetry protocol goes to the first
// one, except what the platform may come to send beside the kinds that are known.
func (dec *decoder) topic() int {
	if dec.e.Kind == decode.Unknown && dec.p.cfg.Topics.Platform != 0 && bytes.HasPrefix(dec.e.Name(), platform) {
		return dec.p.cfg.Topics.Platform
	}
	return dec.topics[dec.e.Kind]
}
