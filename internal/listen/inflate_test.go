package listen

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// gzipped is data, compressed so many times.
func gzipped(t *testing.T, data io.Reader, times int) string {
	t.Helper()
	var b bytes.Buffer
	for i := range times {
		if i > 0 {
			data = bytes.NewReader(bytes.Clone(b.Bytes()))
			b.Reset()
		}
		w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if _, err := io.Copy(w, data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func deflated(t *testing.T, data string, bare bool) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = zlib.NewWriter(&b)
	if bare {
		w, _ = flate.NewWriter(&b, 9)
	}
	_, _ = io.WriteString(w, data)
	_ = w.Close()
	return b.String()
}

// TestCompressedBodies: what comes out counts, and the connection goes on, whatever was wrong.
func TestCompressedBodies(t *testing.T) {
	big := strings.Repeat(`{"name":"function","logs":"something that repeats"},`, 40_000)[:2_000_000]
	whole := gzipped(t, strings.NewReader(big), 1)
	bomb := gzipped(t, io.LimitReader(endless(0), 200<<20), 1)
	for _, c := range []struct {
		name, encoding, data string
		status               int
		want, reason         string
	}{
		{"gzip", "gzip", whole, 200, big, ""},
		{"GZIP", "GZIP", whole, 200, big, ""},
		{"zlib", "deflate", deflated(t, big, false), 200, big, ""},
		{"bare deflate", "deflate", deflated(t, big, true), 200, big, ""},
		{"identity beside it", "gzip, identity", whole, 200, big, ""},
		{"two codings", "deflate, gzip", gzipped(t, strings.NewReader(deflated(t, "[{}]", false)), 1), 200, "[{}]", ""},
		{"three codings", "gzip, gzip, gzip", gzipped(t, strings.NewReader("[{}]"), 3), 415, "", "content_encoding"},
		{"nothing inside", "gzip", gzipped(t, strings.NewReader(""), 1), 200, "", ""},
		{"200 MB of zeros", "gzip", bomb, 413, "", "too_large"},
		{"a bomb in a bomb", "gzip, gzip", gzipped(t, strings.NewReader(bomb), 1), 413, "", "too_large"},
		{"cut", "gzip", whole[:len(whole)-9], 400, "", "corrupt_encoding"},
		{"not gzip at all", "gzip", "[{}]", 400, "", "corrupt_encoding"},
		{"not zstd at all", "zstd", "[{}]", 400, "", "corrupt_encoding"},
		{"brotli", "br", "xx", 415, "", "content_encoding"},
	} {
		for _, chunkedToo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, chunked %v", c.name, chunkedToo), func(t *testing.T) {
				r := start(t)
				cl := r.dial()
				request := post("/", c.data, "Content-Encoding: "+c.encoding)
				if chunkedToo {
					request = fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", c.encoding, len(c.data), c.data)
				}
				go func() { _, _ = io.WriteString(cl, request) }()
				got := cl.reply()
				if got.status != c.status {
					t.Fatalf("%d %s", got.status, got.body)
				}
				if c.status == 415 && !strings.Contains(got.header.Get("Accept-Encoding"), "zstd") {
					t.Errorf("%v", got.header)
				}
				if taken := r.taken(); c.want != "" && (len(taken) != 1 || taken[0] != c.want) || c.want == "" && len(taken) != 0 {
					t.Errorf("%d bodies reached the ring", len(taken))
				}
				if !got.close {
					cl.send(post("/", "[2]"))
					if got := cl.reply(); got.status != 200 {
						t.Errorf("the next request: %d %s", got.status, got.body)
					}
				}
				if st := r.srv.Stats(); c.reason != "" && st.Refused[c.reason] != 1 || c.reason == "" && st.Refused != nil {
					t.Errorf("%+v", st)
				}
				until(t, "nothing is held", func() bool { n, bytes := r.room.InUse(); return n == 0 && bytes == 0 })
			})
		}
	}
}

// TestCompressedWithoutRoom: what does not fit when it comes out is refused with 503.
func TestCompressedWithoutRoom(t *testing.T) {
	r := start(t, withConfig(func(c *Config) { c.AdmitWait = 0 }))
	data := gzipped(t, io.LimitReader(endless(' '), 1<<20), 1)
	defer r.occupy(r.limit - 100<<10)()
	cl := r.dial()
	cl.send(post("/", data, "Content-Encoding: gzip"))
	if got := cl.reply(); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("%+v", got)
	}
}

// TestCompressedNeedsOnePlace: what comes out of a compressed body has the place of that body.
func TestCompressedNeedsOnePlace(t *testing.T) {
	r := start(t, withGate(1, 6<<20), withConfig(func(c *Config) { c.AdmitWait = 0 }))
	cl := r.dial()
	for range 3 {
		cl.send(post("/", gzipped(t, strings.NewReader("[1]"), 1), "Content-Encoding: gzip"))
		if got := cl.reply(); got.status != 200 {
			t.Errorf("%+v", got)
		}
	}
	until(t, "nothing is held", func() bool { n, bytes := r.room.InUse(); return n == 0 && bytes == 0 })
}

// TestCompressedIsServedBesideAQueue: a compressed body that was admitted gets the room to come out before bodies that
// are not admitted yet.
func TestCompressedIsServedBesideAQueue(t *testing.T) {
	r := start(t, withGate(1024, 6<<20), withConfig(func(c *Config) { c.AdmitWait = time.Hour }))
	cl := r.dial()
	data := gzipped(t, strings.NewReader("[1]"), 1)
	request := post("/", data, "Content-Encoding: gzip")
	cl.send(request[:len(request)-3])
	until(t, "it is admitted", func() bool { n, _ := r.room.InUse(); return n == 1 })
	_, used := r.room.InUse()
	defer r.occupy(r.limit - used - 8<<10)()
	r.dial().send(post("/", strings.Repeat(" ", 60<<10)))
	until(t, "a long one waits", func() bool { return r.room.Waiting() == 1 })
	cl.send(request[len(request)-3:])
	if got := cl.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestEmptyCodingHidesNone: an empty field in front of another one does not make a compressed body a plain one. Whether its
// value is nil to fasthttp depends on how many fields are before it.
func TestEmptyCodingHidesNone(t *testing.T) {
	r := start(t)
	for before := range 10 {
		fields := slices.Repeat([]string{"X-Other: 1"}, before)
		cl := r.dial()
		cl.send(post("/", gzipped(t, strings.NewReader("[7]"), 1), append(fields, "Content-Encoding:", "content-encoding: gzip")...))
		if got, taken := cl.reply(), r.taken(); got.status != 200 || len(taken) != before+1 || taken[before] != "[7]" {
			t.Errorf("%d fields before: %+v, %q", before, got, taken[min(before, len(taken)):])
		}
	}
}
