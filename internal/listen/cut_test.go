package listen

import (
	"io"
	"strings"
	"testing"
)

const eventLine = "POST /extension/invoke HTTP/1.1\r\n" + hostLine

// TestRequestsThatEndEarly: whatever a request is for and however its end is told, it may end at each of its bytes. What
// is answered is one answer, the server holds nothing of it afterwards, and serves the next client.
func TestRequestsThatEndEarly(t *testing.T) {
	const inChunks = "4\r\n{\"a\"\r\n3;x=y\r\n:1}\r\n0\r\nX-Sum: 1\r\n\r\n"
	r := start(t, withQuiet())
	for name, request := range map[string]string{
		"an event":                      eventLine + "Content-Length: 7\r\n\r\n{\"a\":1}",
		"an event in chunks":            eventLine + chunkedTE + "\r\n" + inChunks,
		"an event that may go on":       eventLine + "Expect: 100-continue\r\n" + chunkedTE + "\r\n" + inChunks,
		"an event without bytes":        eventLine + chunkedTE + "\r\n0\r\n\r\n",
		"a delivery":                    postLine + "Content-Length: 3\r\n\r\n[1]",
		"a delivery in chunks":          postLine + chunkedTE + "\r\n" + inChunks,
		"a delivery that may go on":     postLine + "Expect: 100-continue\r\n" + chunkedTE + "\r\n" + inChunks,
		"a compressed one in chunks":    postLine + "Content-Encoding: gzip\r\n" + chunkedTE + "\r\n" + inChunks,
		"a refused one in chunks":       "POST /nope HTTP/1.1\r\n" + hostLine + chunkedTE + "\r\n" + inChunks,
		"a question of a load balancer": "HEAD /readyz HTTP/1.1\r\n" + hostLine + chunkedTE + "\r\n" + inChunks,
	} {
		t.Run(name, func(t *testing.T) {
			for cut := range len(request) {
				cl := r.dialFor(t)
				cl.send(request[:cut])
				_ = cl.CloseWrite()
				got, err := io.ReadAll(cl)
				if err != nil {
					t.Fatalf("after %q: %v", request[:cut], err)
				}
				answer := strings.TrimPrefix(string(got), "HTTP/1.1 100 Continue\r\n\r\n")
				if n := strings.Count(answer, "HTTP/1.1 "); n > 1 {
					t.Fatalf("after %q: %q", request[:cut], got)
				}
				_ = cl.Close()
			}
		})
	}
	until(t, "nothing is held", func() bool { items, bytes := r.room.InUse(); return items == 0 && bytes == 0 })
	cl := r.dial()
	cl.send(post("/", "[1]"))
	if got := cl.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestBadRequestBehindEmptyLines: a request that is refused for its header is answered also where empty lines came
// before it, in a read of their own.
func TestBadRequestBehindEmptyLines(t *testing.T) {
	r := start(t)
	for request, want := range map[string]int{
		"POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\n[1]": 400,
		withFields(99) + "\r\n[]":                            431,
	} {
		for _, lines := range []string{"\r\n", "\n", "\r", "\r\n\r\n"} {
			cl := r.dial()
			cl.send(lines)
			until(t, "they are read", r.allRead)
			cl.send(request)
			if got := cl.reply(); got.status != want {
				t.Errorf("%q: %+v", lines, got)
			}
			_ = cl.Close()
			until(t, "it is closed", func() bool { return r.srv.Stats().OpenConns == 0 })
		}
	}
}
