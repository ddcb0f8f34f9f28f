package decode_test

import (
	"fmt"

	"functiongraph-ingest/pkg/decode"
)

// One bad element costs only itself: the events around it come out, in the order of the body, and so does
// the region that is wrong.
func ExampleDecoder() {
	body := []byte(`[
		{"name": "platform.start ", "traceId": "69be64a7"},
		{"name": "platform.report", "traceId": "69be64a7", "metrics": {"podName": pool22}},
		{"name": "function", "logs": "[Function]it works\n"}
	]`)
	var d decode.Decoder
	var e decode.Event // reused: nothing is allocated
	d.Reset(body, decode.Options{})
	for d.Next(&e) {
		if e.Reason != decode.OK {
			fmt.Printf("%v at %d (%.6s), region of %d bytes at %d\n", e.Reason, e.ErrorOffset(), body[e.ErrorOffset():], len(e.Raw()), e.Offset())
			continue
		}
		fmt.Printf("%v key=%q logs=%s\n", e.Kind, e.Key(nil), e.Logs())
	}
	// Output:
	// platform.start key="69be64a7" logs=
	// bad_value at 132 (pool22), region of 82 bytes at 58
	// function key="" logs=[Function]it works\n
}

func ExampleEvent_Metrics() {
	body := []byte(`{"name": "platform.report", "reportMetrics": {"durationMs": 10.6, " memorySize ": 128}}`)
	var d decode.Decoder
	var e decode.Event
	var m decode.Metrics
	d.Reset(body, decode.Options{})
	if d.Next(&e) && e.Metrics(&m) == nil {
		fmt.Println(m.DurationMs, m.MemorySize)
	}
	// Output: 10.6 128
}
