package listen

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"

	"functiongraph-ingest/pkg/rawconn"
)

func withFields(n int) string {
	var b strings.Builder
	b.WriteString("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n")
	for range n - 2 {
		b.WriteString("a:b\r\n")
	}
	return b.String()
}

// TestHeadIsCounted: whatever the pieces in which it comes.
func TestHeadIsCounted(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		text   string
		lines  int
		behind int // -1: the header does not end
		ok     bool
	}{
		{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 2, 0, true},
		{"\r\n\nGET / HTTP/1.1\nHost: x\r\n\r\nabc\r\n\r\n\r\n", 2, 9, true},
		{"GET / HTTP/1.1\nHost: x\n\nabc", 0, 0, false},
		{"GET / HTTP/1.1\r\nHost: x\r\n\nabc", 0, 0, false},
		{"GET / HTTP/1.1\r\nHost: x\n\r\nabc", 0, 0, false},
		{"GET / HTTP/1.1\r\nHost: x\n\r", 2, -1, true},
		{"GET / HTTP/1.1\r\nHost: x\r\n", 2, -1, true},
		{"GET / HTTP/1.1\r\nHost: x\r\n\r", 2, -1, true},
		{"GET / HTTP/1.1\r\n\rx: y\r\n\r\r\n", 3, -1, true},
		{"GET / HTTP/1.1\r\nx: y\r\n \r\n\r\n", 0, 0, false},
		{"GET / HTTP/1.1\r\n\tx: y\r\n\r\n", 0, 0, false},
		{withFields(maxFields) + "\r\n[]", maxFields + 1, 2, true},
		{withFields(maxFields+1) + "\r\n[]", 0, 0, false},
		{"", 0, -1, true},
	} {
		for range 50 {
			var h head
			var err error
			for rest := []byte(c.text); len(rest) > 0 && err == nil; {
				n := 1 + rnd.IntN(len(rest))
				err, rest = h.arrived(rest[:n], true), rest[n:]
			}
			ended := h.part == unframed
			if (err == nil) != c.ok || c.ok && (h.lines.n != c.lines || ended != (c.behind >= 0) || ended && h.behind != c.behind) {
				t.Fatalf("%q: %v, %+v", c.text, err, h)
			}
		}
	}
}

// chunkedPost is a request.
func chunkedPost(chunks string) string {
	return "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
}

// TestManyFields: a request with more fields than maxFields is refused, wherever it stands on its connection and
// whether its header ends or not; what it cost is given back.
func TestManyFields(t *testing.T) {
	many := withFields(800)
	good := withFields(maxFields) + "\r\n[]"
	lines := post("/", strings.Repeat("{}\n", 1000), "Content-Type: application/x-ndjson")
	for _, c := range []struct {
		name  string
		sends []string
		want  []int
	}{
		{"as many as may be", []string{good}, []int{200}},
		{"one more", []string{withFields(maxFields+1) + "\r\n[]"}, []int{431}},
		{"many, without an end", []string{many}, []int{431}},
		{"many, in pieces", []string{many[:20], many[20:200], many[200:]}, []int{431}},
		{"second request", []string{good, many}, []int{200, 431}},
		{"behind the one before", []string{good + many + "\r\n[]"}, []int{200, 431}},
		{"behind the one before, without an end", []string{good + many[:3000], many[3000:3100]}, []int{200, 431}},
		{"behind many lines", []string{lines + lines + lines}, []int{200, 200, 200}},
		{"in a trailer", []string{chunkedPost("2\r\n[]\r\n0\r\n" + strings.Repeat("a:b\r\n", maxFields+1) + "\r\n")}, []int{431}},
		{"as many as may be in a trailer", []string{chunkedPost("2\r\n[]\r\n0\r\n" + strings.Repeat("a:b\r\n", maxFields) + "\r\n")}, []int{200}},
		{"in a trailer, in pieces", []string{chunkedPost("2\r\n[]\r\n0\r\n"), strings.Repeat("a:b\r\n", 30), strings.Repeat("a:b\r\n", 30)}, []int{431}},
		{"in a trailer without an end", []string{chunkedPost("2\r\n[]\r\n0\r\n" + strings.Repeat("a:b\r\n", 800))}, []int{431}},
		{"lines of a chunked body with a trailer", []string{chunkedPost("78\r\n" + strings.Repeat("1\n", 60) + "\r\n0\r\na:b\r\n\r\n"), good}, []int{200, 200}},
		{"behind an end of chunks within a chunk", []string{chunkedPost("7f\r\n0\r\n\r\n" + strings.Repeat("\n1", 61) + "\r\n0\r\n\r\n" + good)}, []int{200, 200}},
		{"behind a chunked one", []string{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n" + many + "\r\n[]"}, []int{200, 431}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			cl := r.dial()
			for i, s := range c.sends {
				cl.send(s)
				if i < len(c.sends)-1 && len(c.sends) == len(c.want) {
					if got := cl.reply(); got.status != c.want[i] {
						t.Fatalf("answer %d: %d %s", i, got.status, got.body)
					}
				}
			}
			from := 0
			if len(c.sends) == len(c.want) {
				from = len(c.want) - 1
			}
			for _, want := range c.want[from:] {
				got := cl.reply()
				if got.status != want {
					t.Fatalf("%d, want %d: %s", got.status, want, got.body)
				}
				if want == 431 && (!got.close || !strings.Contains(got.body, "50")) {
					t.Errorf("%+v", got)
				}
			}
			if c.want[len(c.want)-1] == 431 {
				cl.closed()
				if st := r.srv.Stats(); fmt.Sprint(st.Refused) != "map[header_fields:1]" {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// TestInvocationHasABound: an event that comes slowly holds its connection for a moment only, within the room for
// bodies, and is acknowledged all the same; so is one for which there is no room.
func TestInvocationHasABound(t *testing.T) {
	r := start(t, withGate(1024, 256<<10))
	head := "POST /extension/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{"
	var slow []*client
	for range 100 {
		cl := r.dial()
		cl.send(head)
		slow = append(slow, cl)
	}
	until(t, "all are there", func() bool { return r.srv.Stats().Invocations == 100 })
	good := r.dial()
	good.send(post("/extension/invoke", `{"traceId":"a"}`))
	if got := good.reply(); got.status != 200 {
		t.Errorf("%+v", got)
	}
	r.pass(r.srv.limits.invocation + 1)
	for _, cl := range slow {
		if got := cl.reply(); got.status != 200 || !got.close {
			t.Fatalf("%+v", got)
		}
		_ = cl.CloseWrite()
	}
	until(t, "nothing is left", func() bool { n, _ := r.room.InUse(); return n == 0 })
}

// TestRequestEndIsKnown: in whatever pieces requests come, head knows what is behind each.
func TestRequestEndIsKnown(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const header = "POST / HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct {
		name, body string
		length     int
		want       error
	}{
		{"none", "", 0, nil},
		{"a length", "0\r\n\r\n12345", 10, nil},
		{"a chunk", "3\r\n[1]\r\n0\r\n\r\n", chunked, nil},
		{"chunks", "A \t\r\n" + "0\r\n\r\n0\r\n\r\n" + "\r\n" + "0b;a=\"b\"\r\n" + "\r\n\r\n0\r\n\r\n\r\r" + "\r\n" + "000\r\n\r\n", chunked, nil},
		{"a trailer", "1\r\n1\r\n0;x\r\na: b\r\nc: d\ne: f\r\n\r\n", chunked, nil},
		{"a trailer in two lines", "1\r\n1\r\n0\r\na: b\r\n c\r\n\r\n", chunked, errFraming},
		{"a trailer that begins with a tab", "1\r\n1\r\n0\r\n\ta: b\r\n\r\n", chunked, errFraming},
		{"an uncertain end", "1\r\n1\r\n0\r\na: b\n\r\n", chunked, errFraming},
		{"a bare end", "1\r\n1\r\n0\r\n\n", chunked, errFraming},
		{"a long trailer", "0\r\n" + strings.Repeat("a:b\r\n", maxFields+1), chunked, errFields},
		{"no size", "\r\n", chunked, errFraming},
		{"no hexadecimal size", "g\r\n", chunked, errFraming},
		{"LF behind a size", "1\n", chunked, errFraming},
		{"LF in an extension", "1;a\n", chunked, errFraming},
		{"a long size", "0000000000000001", chunked, errFraming},
		{"a long chunk", "1\r\n12\r\n", chunked, errFraming},
		{"LF behind a chunk", "1\r\n1\n", chunked, errFraming},
		{"CR behind a chunk", "1\r\n1\r\r", chunked, errFraming},
	} {
		for i := range 200 {
			var h head
			text, behind, followed := header+c.body, strings.Repeat("x", rnd.IntN(3)), 0
			var err error
			for rest := []byte(text + behind); len(rest) > 0 && err == nil; {
				n := 1 + rnd.IntN(len(rest))
				if followed+n > len(text) { // fasthttp does not read on behind the end
					n = len(rest)
				}
				followed += n
				if err = h.arrived(rest[:n], true); err == nil && h.part == unframed {
					err = h.frame(c.length)
				}
				rest = rest[n:]
				if followed >= len(text) {
					break
				}
			}
			switch {
			case err != c.want: //nolint:errorlint // the very one
				t.Fatalf("%s, %d: %v", c.name, i, err)
			case err == nil && (h.part != over || followed == len(text+behind) && h.after != len(behind)):
				t.Fatalf("%s, %d: %+v", c.name, i, h)
			}
		}
	}
}

// came.
func TestHeaderEndsTheSameInEveryCut(t *testing.T) {
	type verdict struct {
		rest  int
		ended bool
		err   error
	}
	follow := func(parts ...string) (v verdict) {
		var l headLines
		for i, p := range parts {
			var rest []byte
			rest, v.ended, v.err = l.follow([]byte(p), true)
			if v.rest = len(rest); v.ended || v.err != nil {
				v.rest += len(strings.Join(parts[i+1:], ""))
				return v
			}
		}
		return v
	}
	for text, want := range map[string]verdict{
		"POST / HTTP/1.1\r\nA: b\r\n\r\nbody":          {4, true, nil},
		"\r\n\r\nPOST /\r\n\r\n":                       {0, true, nil},
		"POST /\r\nA: b\n\r\nbody":                     {4, false, errFraming},
		"POST /\r\nA: b\n\nbody":                       {4, false, errFraming},
		"POST /\r\nA: b\r\n\nbody":                     {4, false, errFraming},
		"POST /\r\nA: b\ryy\r\n\nbody":                 {4, false, errFraming},
		"POST /\nA: b\r\nC: d\r\n\r\n":                 {0, true, nil},
		"POST /\r\nA: b\r\rc\r\n\r\n":                  {0, true, nil},
		"POST /\r\nA: b\r\n\rC: d\r\n\r\nx":            {1, true, nil},
		"a\r\n" + strings.Repeat("b\r\n", 50) + "\r\n": {0, true, nil},
		"a\r\n" + strings.Repeat("b\r\n", 51) + "\r\n": {2, false, errFields},
	} {
		got := follow(text)
		if want.err != nil { // what is behind an error is not read
			got.rest = want.rest
		}
		if got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
		cuts := []func(i int) []string{
			func(i int) []string { return []string{text[:i], text[i:]} },
			func(i int) []string { return append(strings.Split(text[:i], ""), text[i:]) },
		}
		for i := range len(text) {
			for n, cut := range cuts {
				v := follow(cut(i)...)
				if want.err != nil {
					v.rest = want.rest
				}
				if v != want {
					t.Fatalf("%q cut at %d (%d): %+v, want %+v", text, i, n, v, want)
				}
			}
		}
	}
}

// TestNextRequestBehindTheTailOfABody: what the next request sent with the last bytes of a body is seen and served,
// wherever the reads of that body were cut: bufio reads long ones past its buffer.
func TestNextRequestBehindTheTailOfABody(t *testing.T) {
	const size = 40_000
	r := start(t)
	body := "[" + strings.Repeat(" ", size-2) + "]"
	known := post("/", body)
	chunked := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", size, body)
	tooMany := withFields(99) + "\r\n\r\n[]"
	for name, first := range map[string]string{"known": known, "chunked": chunked} {
		for _, left := range []int{1, 2, 7, 100, 4095, 4096, 8191, 8192, 8193, 16384} {
			for _, next := range []string{known, tooMany} {
				t.Run(fmt.Sprintf("%s, %d left, %d behind", name, left, len(next)), func(t *testing.T) {
					cl := r.dialFor(t)
					cut := len(first) - left
					cl.send(first[:cut])
					until(t, "it is read", r.allRead)
					cl.send(first[cut:] + next)
					if got := cl.reply(); got.status != 200 {
						t.Fatalf("the first: %+v", got)
					}
					want := 200
					if next == tooMany {
						want = 431
					}
					if got := cl.reply(); got.status != want {
						t.Fatalf("the next: %+v, want %d", got, want)
					}
					_ = cl.Close()
				})
			}
		}
	}
}

// TestConnectionHoldsNoBody: a connection that has read a body to its end keeps no view into the buffer of that body,
// which may be let go while the answer is awaited, however long the last read was.
func TestConnectionHoldsNoBody(t *testing.T) {
	r := start(t, withHold())
	for _, last := range []int{100, readBufferSize - 1, readBufferSize, readBufferSize + 1} {
		cl := r.dial()
		request := post("/", "["+strings.Repeat(" ", 40_000)+"]")
		cl.send(request[:len(request)-last])
		until(t, "it is read", r.allRead)
		cl.send(request[len(request)-last:])
		until(t, "its answer is awaited", func() bool { return r.inPhase(waiting) == 1 })
		r.srv.conns.each(func(c *conn) {
			if c.head.last != nil {
				t.Errorf("%d bytes of the last read of %d are held", len(c.head.last), last)
			}
		})
		r.hold <- struct{}{}
		if got := cl.reply(); got.status != 200 {
			t.Errorf("%+v", got)
		}
		_ = cl.Close()
		until(t, "it is closed", func() bool { return r.srv.Stats().OpenConns == 0 })
	}
}

// TestTrailerIsReadWhole: fasthttp gets a trailer in one piece, however it comes. It reads all of it again for each piece,
// so one of 8 kB that came byte by byte cost it 32 MB.
func TestTrailerIsReadWhole(t *testing.T) {
	r := start(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.Close() }()
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	c := &conn{Conn: rawconn.New(nc.(rawconn.Stream)), srv: r.srv}
	c.enter(reading, never)
	request := postLine + chunkedTE + "\r\n"
	if err = c.head.arrived([]byte(request), true); err == nil {
		err = c.head.frame(chunked)
	}
	if err != nil {
		t.Fatal(err)
	}
	const rest = "0\r\nX: 1\r\nY: 2\r\n\r\n"
	go func() {
		for i := range rest {
			_, _ = io.WriteString(peer, rest[i:i+1])
			for c.Queued() > 0 { // until it is read
				runtime.Gosched()
			}
		}
	}()
	var got, reads = 0, 0
	var buf [1024]byte
	for ; got < len(rest); reads++ {
		n, err := c.Read(buf[:])
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if most := len("0\r\n"); reads > most || got != len(rest) || c.head.part != over {
		t.Errorf("%d reads of %d bytes, part %d", reads, got, c.head.part)
	}
}

// TestPlainHeader: a header that has one of the fields that seldom is about is never plain, however the field is written
// and in whatever pieces it comes; that of a usual client is, where it comes at once.
func TestPlainHeader(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const usual = "POST / HTTP/1.1\r\nHost: x\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 2\r\nContent-Type: application/json\r\n" +
		"Accept-Encoding: gzip\r\nConnection: keep-alive\r\n"
	var h head
	if err := h.arrived([]byte(usual+"\r\n"), true); err != nil || !h.plain() {
		t.Fatalf("%v, %+v", err, h)
	}
	lines := strings.SplitAfter(usual, "\r\n")
	for _, name := range []string{"Origin", "Sec-Fetch-Site", "Content-Encoding"} {
		for range 500 {
			field := []byte(name)
			for i := range field {
				if rnd.IntN(2) == 0 && field[i] != '-' {
					field[i] ^= 0x20
				}
			}
			end := []string{"\r\n", "\n"}[rnd.IntN(2)]
			at := 1 + rnd.IntN(len(lines)-2)
			text := strings.Join(lines[:at], "") + string(field) + ":" + end + strings.Join(lines[at:], "") + "\r\n"
			var h head
			for rest := []byte(text); len(rest) > 0; {
				n := len(rest)
				if rnd.IntN(4) > 0 {
					n = 1 + rnd.IntN(len(rest))
				}
				if err := h.arrived(rest[:n], true); err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				rest = rest[n:]
			}
			if h.part != unframed || h.plain() {
				t.Fatalf("%q: %+v", text, h)
			}
		}
	}
}
