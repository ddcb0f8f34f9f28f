package sink_test

import (
	"context"
	"fmt"
	"os"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/ndjson"
)

// waiting is an Ack that says when the records of one source have ended.
type waiting struct{ ended chan int }

func (waiting) Hold()             {}
func (w waiting) Settle(lost int) { w.ended <- lost }

// A sink copies what it is given, and tells the source how its records ended.
func ExampleSink() {
	var out sink.Sink = ndjson.New(os.Stdout)
	ack := waiting{make(chan int, 1)}
	ctx := context.Background()
	n, err := out.Append(ctx, []sink.Record{{Key: []byte("a1"), Value: []byte(`{"logs":"hello"}`)}}, ack)
	if err != nil {
		fmt.Println(err)
	}
	out.Flush()
	fmt.Println(n, "taken,", <-ack.ended, "lost")
	if err := out.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// {"logs":"hello"}
	// 1 taken, 0 lost
}
