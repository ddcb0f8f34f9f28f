package listen

import (
	"fmt"
	"strings"
	"testing"
)

// TestStatus: every answer there is to a single request on a fresh connection, and whether the
// connection lives on.
func TestStatus(t *testing.T) {
	big := strings.Repeat("x", 100<<10)
	longer := strings.Repeat("x", maxKeptRest+1)
	const chunk = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name, send string
		status     int
		contains   string // in the answer's body; "-": it is empty
		header     string // "Name: value" the answer must have
		closes     bool
		bodies     int    // that reached the ring
		reason     string // counted refusal
	}{
		{"array", post("/", `[{}]`), 200, "-", "", false, 1, ""},
		{"path with query", post("/?a=b", `[{}]`), 200, "-", "", false, 1, ""},
		{"absolute form", post("http://x/", `[{}]`), 200, "-", "", false, 1, ""},
		{"events path", post("/v1/events", `[{}]`), 200, "-", "", false, 1, ""},
		{"not JSON at all", post("/", "\x00\xff nonsense"), 200, "-", "", false, 1, ""},
		{"HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\n[]", 200, "-", "", true, 1, ""},
		{"client asks to close", post("/", "[]", "Connection: close"), 200, "-", "Connection: close", true, 1, ""},
		{"identity", post("/", "[]", "Content-Encoding: Identity"), 200, "-", "", false, 1, ""},
		{"empty", post("/", ""), 200, "-", "", false, 0, ""},
		{"empty chunked", chunk + "\r\n0\r\n\r\n", 200, "-", "", false, 0, ""},
		{"chunked", chunk + "\r\n3\r\n[{}\r\n1\r\n]\r\n0\r\n\r\n", 200, "-", "", false, 1, ""},
		{"invocation", post("/extension/invoke", `{"traceId":"a"}`), 200, `{"traceId":"a"}`, "", false, 0, ""},
		{"invocation, other path", post("/extension/register", `{"traceId":"a"}`), 200, `{"traceId":"a"}`, "", false, 0, ""},
		{"invocation, chunked", "POST /extension/invoke HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, "{}", "", false, 0, ""},
		{"invocation, no body", "POST /extension/invoke HTTP/1.1\r\nHost: x\r\n\r\n", 200, "-", "", false, 0, ""},
		{"invocation, too long", post("/extension/invoke", big), 200, "-", "", true, 0, ""},
		{"unknown path", post("/nope", "[]"), 404, "/v1/events", "", false, 0, "not_found"},
		{"unknown path, long body", post("/nope", big), 404, "/v1/events", "", false, 0, "not_found"},
		{"unknown path, longer body", post("/nope", longer), 404, "/v1/events", "Connection: close", true, 0, "not_found"},
		{"GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 405, "POST", "Allow: POST", false, 0, "method"},
		{"PUT", strings.Replace(post("/", "[]"), "POST", "PUT", 1), 405, "POST", "Allow: POST", false, 0, "method"},
		{"GET on invoke", "GET /extension/invoke HTTP/1.1\r\nHost: x\r\n\r\n", 405, "POST", "Allow: POST", false, 0, "method"},
		{"no length", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", 411, "Content-Length", "", false, 0, "length_required"},
		{"brotli", post("/", "[]", "Content-Encoding: br"), 415, "encoding", "", false, 0, "content_encoding"},
		{"two encodings", post("/", "[]", "Content-Encoding: identity", "Content-Encoding: br"), 415, "encoding", "", false, 0, "content_encoding"},
		{"too large", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n[", 413, "--max-body", "Connection: close", true, 0, "too_large"},
		{"far too large", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1999999999\r\n\r\n[", 413, "--max-body", "Connection: close", true, 0, "too_large"},
		{"chunked too large", chunk + "\r\n400001\r\n" + strings.Repeat("x", 4<<20+1) + "\r\n0\r\n\r\n", 413, "--max-body", "Connection: close", true, 0, "too_large"},
		{"not HTTP", "hello\r\n\r\n", 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"no host", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"bad length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"two lengths", post("/", "[]", "Content-Length: 3"), 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"unknown transfer coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"broken chunk", chunk + "\r\nzz\r\n[]\r\n0\r\n\r\n", 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"broken second chunk", chunk + "\r\n2\r\n[]\r\n!\r\n", 400, "bad request", "Connection: close", true, 0, "bad_request"},
		{"long header", post("/", "[]", "X: "+strings.Repeat("x", 9000)), 431, "header", "Connection: close", true, 0, "header_too_large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			cl := r.dial()
			cl.send(c.send)
			got := cl.reply()
			if got.status != c.status {
				t.Fatalf("status %d, want %d: %s", got.status, c.status, got.body)
			}
			if c.contains == "-" && got.body != "" || c.contains != "-" && !strings.Contains(got.body, c.contains) {
				t.Errorf("body %q, want %q in it", got.body, c.contains)
			}
			if echo := c.status == 200; got.body != "" && !echo && !strings.HasSuffix(got.body, "\n") {
				t.Errorf("no newline at the end of %q", got.body)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok {
				if name == "Connection" && !got.close || name != "Connection" && got.header.Get(name) != value {
					t.Errorf("no %q in %v", c.header, got.header)
				}
			}
			if c.closes {
				cl.closed()
			} else {
				cl.send(post("/", "[2]"))
				if next := cl.reply(); next.status != 200 {
					t.Errorf("the next request got %d: %s", next.status, next.body)
				}
				c.bodies++
			}
			if n := len(r.taken()); n != c.bodies {
				t.Errorf("%d bodies reached the ring, want %d", n, c.bodies)
			}
			want := ""
			if c.reason != "" {
				want = fmt.Sprint(map[string]int64{c.reason: 1})
			} else {
				want = "map[]"
			}
			if st := r.srv.Stats(); fmt.Sprint(st.Refused) != want || st.BodiesAdmitted != int64(c.bodies) {
				t.Errorf("stats %+v, want refused %s and %d bodies", st, want, c.bodies)
			}
		})
	}
}

// TestPathsOfConfig: /v1/events exists only where it was asked for.
func TestPathsOfConfig(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.Events = false }))
	cl := r.dial()
	cl.send(post("/v1/events", "[]"))
	if got := cl.reply(); got.status != 404 || strings.Contains(got.body, "/v1/events") {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

// TestBody: what the decoder gets.
func TestBody(t *testing.T) {
	r := start(t)
	cl := r.dial()
	for i, c := range []struct {
		contentType string
		nd          bool
	}{
		{"application/json", false},
		{"application/x-ndjson", true},
		{"Application/X-NDJSON; charset=utf-8", true},
		{"application/x-ndjson ;a=b", true},
		{"application/x-ndjsonx", false},
		{"application/x-nd", false},
		{"", false},
	} {
		data := fmt.Sprintf(`[{"n":%d}]`, i)
		cl.send(post("/", data, "Content-Type: "+c.contentType))
		if got := cl.reply(); got.status != 200 || got.body != "" {
			t.Fatalf("%q: %d %q", c.contentType, got.status, got.body)
		}
		r.mu.Lock()
		if r.bodies[i] != data || r.nd[i] != c.nd || r.ids[i] != r.ids[0]+uint64(i) {
			t.Errorf("%q: body %q ndjson %v id %d", c.contentType, r.bodies[i], r.nd[i], r.ids[i])
		}
		r.mu.Unlock()
	}
}

// TestAnswers: what the outcome of the events makes of the answer.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		o      outcome
		status int
		want   string
	}{
		{outcome{events: 3}, 200, ""},
		{outcome{}, 200, ""},
		{outcome{events: 3, dead: 2}, 200, `{"events":3,"deadLettered":2}`},
		{outcome{dead: 1}, 200, `{"events":0,"deadLettered":1}`},
		{outcome{events: 3, truncated: true}, 200, `{"events":3,"deadLettered":0,"truncated":true}`},
		{outcome{events: 2, dead: 1, lost: 1, noDead: 1}, 200, `{"events":2,"deadLettered":0,"dropped":1}`},
		{outcome{events: 2, dead: 1, lost: 2, noDead: 1, noEvent: 1, truncated: true}, 200, `{"events":1,"deadLettered":0,"dropped":2,"truncated":true}`},
		{outcome{events: 2, dead: 1, lost: 2, noDead: 1}, 504, "outcome unknown, delivery goes on: 2 of 3 events were dropped"},
		{outcome{events: 3, dead: 1, lost: 2}, 504, "outcome unknown, delivery goes on: 2 of 4 events were dropped"},
	} {
		r := start(t, withOutcome(c.o))
		cl := r.dial()
		for range 2 { // the second uses the same Delivery again
			cl.send(post("/", "[]"))
			got := cl.reply()
			if got.status != c.status || !strings.HasPrefix(got.body, c.want) || (c.want == "") != (got.body == "") {
				t.Errorf("%+v: %d %q", c.o, got.status, got.body)
			}
			if c.want != "" && !strings.HasSuffix(got.body, "\n") {
				t.Errorf("%+v: no newline at the end of %q", c.o, got.body)
			}
			if c.status == 200 && c.want != "" && got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%+v: content type %q", c.o, got.header.Get("Content-Type"))
			}
		}
	}
	r := start(t, withOutcome(outcome{dead: 1}), withConfig(func(c *Config) { c.WaitForAck = false }))
	cl := r.dial()
	cl.send(post("/", "[]"))
	if got := cl.reply(); got.status != 200 || got.body != "" {
		t.Errorf("ack=accept: %d %q", got.status, got.body)
	}
	until(t, "the body is taken", func() bool { return len(r.taken()) == 1 })
}
