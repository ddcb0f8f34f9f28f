package listen

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
)

// TestAnswerIsNotHeldBack: the answer to a whole request leaves although the next one has begun, whatever that one
// waits for.
func TestAnswerIsNotHeldBack(t *testing.T) {
	chunkedOne := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"
	for name, c := range map[string]struct{ first, next string }{
		"a header":                  {post("/", "[1]"), post("/", "[2]")[:40]},
		"a header, no body":         {post("/", "[1]"), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"},
		"a part of a body":          {post("/", "[1]"), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[{"},
		"a request without its ack": {post("/", "[1]"), post("/", "never")},
		"behind a chunked one":      {chunkedOne, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"},
		"behind a refusal":          {post("/nope", "[1]"), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"},
		"expects to continue":       {post("/", "[1]"), "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, func(r *rig, _ *Config, _ *body.RoomConfig) {
				r.consume = func(b *body.Body) outcome { return outcome{events: 1, never: string(b.Data) == "never"} }
			})
			cl := r.dial()
			cl.send(c.first + c.next)
			want := 200
			if name == "behind a refusal" {
				want = 404
			}
			if got := cl.reply(); got.status != want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestEveryAnswerHasADate, and an extension's paths exist in an extension only.
func TestEveryAnswerHasADate(t *testing.T) {
	for name, request := range map[string]string{
		"200": post("/", "[]"), "404": post("/nope", "[]"), "405": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "411": "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
		"400": "hello\r\n\r\n", "413": "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
		"431": withFields(99), "invocation": post("/extension/invoke", "{}"),
	} {
		r := start(t)
		cl := r.dial()
		cl.send(request)
		got := cl.reply()
		at, err := http.ParseTime(got.header.Get("Date"))
		if err != nil || len(got.header["Date"]) != 1 || time.Since(at) > time.Minute || time.Since(at) < -time.Minute {
			t.Errorf("%s: %v", name, got.header)
		}
	}
	r := start(t, withConfig(func(c *Config) { c.MaxConns, c.KeepUsed = 1, true }))
	first := r.dial()
	first.send(post("/", "[]"))
	first.reply()
	second := r.dial()
	second.send(post("/", "[]"))
	if got := second.reply(); got.status != 503 || got.header.Get("Date") == "" {
		t.Errorf("%+v", got)
	}
}

// TestExtensionPathsOfServe: without a function beside it nobody hears invocation events, so they are not answered 200.
func TestExtensionPathsOfServe(t *testing.T) {
	r := start(t)
	r.srv.deps.OnInvoke = nil
	r.srv.texts = newTexts(&r.srv.cfg, r.room, false)
	cl := r.dial()
	for _, path := range []string{"/extension/invoke", "/extension/register"} {
		cl.send(post(path, `[{"c":"lost?"}]`))
		if got := cl.reply(); got.status != 404 || strings.Contains(got.body, "extension") {
			t.Errorf("%+v", got)
		}
	}
}
