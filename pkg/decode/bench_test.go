package decode

import (
	"encoding/json"
	"fmt"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// jsonEvent is what a program without this package would decode into.
type jsonEvent struct {
	Name      string          `json:"name"`
	StartTime string          `json:"startTime"`
	TraceID   string          `json:"traceId"`
	EndTime   string          `json:"endTime"`
	Status    string          `json:"status"`
	Logs      string          `json:"logs"`
	Metrics   json.RawMessage `json:"metrics"`
}

// jsonV2Event is jsonEvent with that package's raw value.
type jsonV2Event struct {
	Name      string         `json:"name"`
	StartTime string         `json:"startTime"`
	TraceID   string         `json:"traceId"`
	EndTime   string         `json:"endTime"`
	Status    string         `json:"status"`
	Logs      string         `json:"logs"`
	Metrics   jsontext.Value `json:"metrics"`
}

type contender struct {
	name string
	run  func(body []byte) int // returns the number of events
}

func contenders() []contender {
	return append([]contender{
		{"strict", decodeAll(Options{})},
		{"lenient", decodeAll(Options{Lenient: true})},
		{"encoding-json", func(body []byte) int {
			var evs []jsonEvent
			if json.Unmarshal(body, &evs) != nil {
				return 0
			}
			return len(evs)
		}},
		// The package that becomes encoding/json/v2. It refuses what we take: names twice in one object.
		{"json-v2", func(body []byte) int {
			var evs []jsonV2Event
			if jsonv2.Unmarshal(body, &evs) != nil {
				return 0
			}
			return len(evs)
		}},
	}, sonicContenders()...)
}

// decodeAll reads of each event what the pipeline reads: raw, kind and key.
func decodeAll(o Options) func([]byte) int {
	var d Decoder
	var e Event
	return func(body []byte) int {
		n, sum := 0, 0
		d.Reset(body, o)
		for d.Next(&e) {
			if e.Reason == OK {
				n++
			}
			sum += len(e.Raw()) + len(e.Key(nil)) + int(e.Kind)
		}
		if sum == 0 {
			return 0
		}
		return n
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, p := range []struct {
		name string
		profile
	}{{"heavy", heavy}, {"light", light}, {"small", small}, {"chinese", chinese}} {
		for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
			body, n := p.body(size)
			for _, c := range contenders() {
				b.Run(fmt.Sprintf("%s/%dK/%s", p.name, size>>10, c.name), func(b *testing.B) {
					b.SetBytes(int64(len(body)))
					b.ReportAllocs()
					for b.Loop() {
						if got := c.run(body); got != n {
							b.Fatalf("%d events, want %d", got, n)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/event")
				})
			}
		}
	}
}
