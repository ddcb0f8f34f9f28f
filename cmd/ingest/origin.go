package main

import (
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// origin is where events come from, as record headers. The function's name is only known once the platform has
// answered the registration, and where it runs with the first invocation; until then it is what the environment says.
type origin struct {
	tags    []config.Tag
	headers atomic.Pointer[[]sink.Header] // replaced, never written to

	mu    sync.Mutex
	place place
}

// place tells where events come from; "" stands for unknown.
type place struct{ instance, function, version, region, project, alias string }

func newOrigin(instance string, tags []config.Tag) *origin {
	o := &origin{tags: tags}
	o.update(func(p *place) {
		*p = place{instance: instance, function: os.Getenv("RUNTIME_FUNC_NAME"), version: os.Getenv("RUNTIME_FUNC_VERSION"), project: os.Getenv("RUNTIME_PROJECT_ID")}
	})
	return o
}

// function names the function and its version.
func (o *origin) function(name, version string) {
	o.update(func(p *place) { p.function, p.version = name, version })
}

// instance names the instance, where nothing was set and the host name has changed.
func (o *origin) instance(name string) {
	o.update(func(p *place) { p.instance = name })
}

// update changes the known places, and the headers with them.
func (o *origin) update(change func(*place)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := o.place
	change(&o.place)
	if o.place == was && o.headers.Load() != nil {
		return
	}
	p := &o.place
	var h []sink.Header
	add := func(key, value string) {
		if value != "" && isName(value) {
			h = append(h, sink.Header{Key: key, Value: []byte(value)})
		}
	}
	add(kafka.HeaderInstance, p.instance)
	add("ingest-function", p.function)
	add("ingest-version", p.version)
	add("ingest-region", p.region)
	add("ingest-project", p.project)
	add("ingest-alias", p.alias)
	for _, tag := range o.tags {
		h = append(h, sink.Header{Key: "ingest-tag-" + tag.Name, Value: []byte(tag.Value)})
	}
	o.headers.Store(&h)
}

// urn takes region, project and alias from an invocation event's invokedFunctionUrn:
// urn:fss:REGION:PROJECT:function:PACKAGE:NAME:VERSION, an alias in place of the version has a ! in front. The
// reference's sample has sn:cn in front and 0@PACKAGE@NAME in place of PACKAGE:NAME.
func (o *origin) urn(urn string) {
	parts := strings.Split(urn, ":")
	at := slices.Index(parts, "function")
	if at < 2 || at+2 >= len(parts) || len(urn) > maxURN {
		return
	}
	alias, isAlias := strings.CutPrefix(parts[len(parts)-1], "!")
	if !isAlias {
		alias = ""
	}
	o.update(func(p *place) { p.region, p.project, p.alias = parts[at-2], parts[at-1], alias })
}

// Bounds of what every record repeats.
const (
	maxURN  = 512
	maxName = 255
)

// isName reports whether records can repeat a name that comes from the environment or the platform. One that cannot be
// right is treated as unknown.
func isName(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// list returns the headers, which must not be written to.
func (o *origin) list() []sink.Header { return *o.headers.Load() }
