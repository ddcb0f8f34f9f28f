package decode

import (
	"fmt"
	"strings"
	"testing"
)

// TestTraceIDHasABound: a traceId of more than MaxTraceID bytes makes its event a bad region, and only that one.
func TestTraceIDHasABound(t *testing.T) {
	for _, c := range []struct {
		id   string
		good bool
	}{
		{"x", true}, {strings.Repeat("x", MaxTraceID), true}, {strings.Repeat("x", MaxTraceID+1), false},
		{strings.Repeat("x", 1<<20), false}, {" " + strings.Repeat("x", MaxTraceID) + " ", true},
		{strings.Repeat(`\u0041`, MaxTraceID), true}, {strings.Repeat(`\u0041`, MaxTraceID+1), false},
	} {
		for _, key := range []string{"traceId", "TRACEID", `trace\u0049d`} {
			for _, ndjson := range []bool{false, true} {
				body := fmt.Sprintf(`[{"a":1},{%q:"%s","b":2},{"c":3}]`, "K", c.id)
				if ndjson {
					body = fmt.Sprintf("{\"a\":1}\n{%q:\"%s\",\"b\":2}\n{\"c\":3}", "K", c.id)
				}
				body = strings.Replace(body, `"K"`, `"`+key+`"`, 1)
				var d Decoder
				var e Event
				d.Reset([]byte(body), Options{NDJSON: ndjson})
				var got []Reason
				for d.Next(&e) {
					got = append(got, e.Reason)
					if e.Reason != OK {
						if i := e.ErrorOffset(); i < e.Offset() || i >= e.Offset()+len(e.Raw()) || body[i-1] != '"' {
							t.Errorf("error offset %d of a region from %d on", i, e.Offset())
						}
						if len(e.Key(nil)) > MaxTraceID {
							t.Error("a dead letter has the long key")
						}
					}
				}
				want := OK
				if !c.good {
					want = LongTraceID
				}
				if len(got) != 3 || got[0] != OK || got[1] != want || got[2] != OK {
					t.Errorf("%s of %d bytes, NDJSON %v: %v, want %v in the middle", key, len(c.id), ndjson, got, want)
				}
			}
		}
	}
}
