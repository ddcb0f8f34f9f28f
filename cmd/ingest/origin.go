package main

import (
	"os"
	"sync/atomic"

	"functiongraph-ingest/pkg/sink"
)

// origin is where events come from, as record headers. The function's name is only known once the platform has
// answered the registration; until then it is what the environment says.
type origin struct {
	instance string
	headers  atomic.Pointer[[]sink.Header]
}

func newOrigin(instance string) *origin {
	o := &origin{instance: instance}
	o.function(os.Getenv("RUNTIME_FUNC_NAME"), os.Getenv("RUNTIME_FUNC_VERSION"))
	return o
}

// function names the function and its version; "" is not known.
func (o *origin) function(name, version string) {
	var h []sink.Header
	for _, f := range []struct{ key, value string }{
		{"ingest-instance", o.instance}, {"ingest-function", name}, {"ingest-version", version},
	} {
		if f.value != "" {
			h = append(h, sink.Header{Key: f.key, Value: []byte(f.value)})
		}
	}
	o.headers.Store(&h)
}

// list returns the headers, which must not be written to.
func (o *origin) list() []sink.Header { return *o.headers.Load() }
