package listen

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// longHeaders are ways to make a header of about 7 kB; %s: further fields.
var longHeaders = map[string]string{
	"fields":   "POST / HTTP/1.1\r\nHost: x\r\n%s" + strings.Repeat("a: "+strings.Repeat("b", 175)+"\r\n", 40),
	"one":      "POST / HTTP/1.1\r\nHost: x\r\n%sa: " + strings.Repeat("b", 7000) + "\r\n",
	"a query":  "POST /?" + strings.Repeat("a=b&", 1750) + " HTTP/1.1\r\nHost: x\r\n%s",
	"a cookie": "POST / HTTP/1.1\r\nHost: x\r\n%sCookie: " + strings.Repeat("a=b; ", 1400) + "\r\n",
}

// TestLongHeadersAreNotHeld: while bodies do not come, or the rest of those that were refused, connections with long
// headers hold no more than others.
func TestLongHeadersAreNotHeld(t *testing.T) {
	const conns, length = 100, "Content-Length: 100000\r\n"
	hold := func(header, rest string, in phase) float64 {
		r := start(t)
		memoryNow(t) // twice: pools give back what they hold only then
		before := memoryNow(t).heap
		var all []*client
		for range conns {
			cl := r.dial()
			cl.send(header + rest)
			all = append(all, cl)
		}
		until(t, "all are waited for", func() bool { return r.inPhase(in) == conns && r.unread() == 0 })
		if in == reading {
			until(t, "all are admitted", func() bool { n, _ := r.room.InUse(); return n == conns })
		}
		memoryNow(t)
		heap := memoryNow(t).heap - before
		for _, cl := range all {
			_ = cl.Close()
		}
		until(t, "all are closed", func() bool { return r.srv.Stats().OpenConns == 0 })
		return heap / conns
	}
	for _, way := range []struct {
		name, method, rest string
		in                 phase
	}{
		{"a body", "POST", "\r\n[", reading},
		{"expects", "POST", "Expect: 100-continue\r\n\r\n", reading},
		{"refused", "GET", "\r\n[", dropping},
		{"refused, HEAD", "HEAD", "\r\n[", dropping},
		{"refused for its coding", "POST", "Content-Encoding: none\r\n\r\n[", dropping},
	} {
		least := hold(way.method+" / HTTP/1.1\r\nHost: x\r\n"+length, way.rest, way.in)
		for name, header := range longHeaders {
			header = way.method + strings.TrimPrefix(fmt.Sprintf(header, length), "POST")
			if got := hold(header, way.rest, way.in); got > least+8<<10 {
				t.Errorf("%s, %s: %.0f bytes a connection, %.0f with a short header", way.name, name, got, least)
			}
		}
	}
}

// TestLongHeadersCount: what a long header says of its body and its connection holds all the same.
func TestLongHeadersCount(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("[1]\n[2]"))
	_ = z.Close()
	fields := "Content-Type: application/x-ndjson\r\nContent-Encoding: gzip\r\nOrigin: http://a.example\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", zipped.Len())
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\na: b\r\n\r\n", zipped.Len(), zipped.String())
	for name, header := range longHeaders {
		for _, way := range []string{"length", "chunks", "expect", "close", "1.0"} {
			t.Run(name+", "+way, func(t *testing.T) {
				r := start(t, withConfig(func(c *Config) { c.CORSOrigins = []string{"http://a.example"} }))
				cl := r.dial()
				head, body := fmt.Sprintf(header, fields+length), zipped.String()
				switch way {
				case "chunks":
					head, body = fmt.Sprintf(header, fields+chunkedTE), chunks
				case "expect":
					head += "Expect: 100-continue\r\n"
				case "close":
					head += "Connection: close\r\n"
				case "1.0":
					head = strings.Replace(head, "HTTP/1.1", "HTTP/1.0", 1)
				}
				cl.send(head + "\r\n")
				if way == "expect" {
					if got := cl.reply(); got.status != 100 {
						t.Fatalf("%+v", got)
					}
				}
				cl.send(body)
				got := cl.reply()
				last := way == "close" || way == "1.0"
				if got.status != 200 || got.close != last || got.header.Get("Access-Control-Allow-Origin") != "http://a.example" {
					t.Fatalf("%+v", got)
				}
				if !last {
					cl.send(post("/", "[3]"))
					if got := cl.reply(); got.status != 200 {
						t.Fatalf("the next: %+v", got)
					}
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.bodies[0] != "[1]\n[2]" || !r.nd[0] || !last && !slices.Equal(r.nd, []bool{true, false}) {
					t.Errorf("%q, NDJSON %v", r.bodies, r.nd)
				}
			})
		}
	}
}
