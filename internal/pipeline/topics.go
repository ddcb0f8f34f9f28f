package pipeline

import "functiongraph-ingest/pkg/decode"

// Topics says where events go by their category, each as [sink.Record.Topic] does. The zero value is one topic for all.
type Topics struct{ Platform, Function, Extension int }

func (t Topics) of(c decode.Category) int {
	switch c {
	case decode.FromPlatform:
		return t.Platform
	case decode.FromFunction:
		return t.Function
	case decode.FromExtension:
		return t.Extension
	}
	return 0
}

// topics has the topic of each kind of event.
type topics [decode.Extension + 1]int

func (t Topics) table() (all topics) {
	for k := range all {
		all[k] = t.of(decode.Kind(k).Category())
	}
	return all
}

// topic is the topic of the event or bad region at hand. What is no event of the telemetry protocol goes to the first one,
// except what the platform may come to send beside the kinds that are known. A bad region belongs where its event would.
func (dec *decoder) topic() int {
	if dec.e.Kind == decode.Unknown && dec.split {
		return dec.p.cfg.Topics.of(dec.e.Category())
	}
	return dec.topics[dec.e.Kind]
}
