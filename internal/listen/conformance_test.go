package listen

import (
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"functiongraph-ingest/internal/body"
)

// A conformance case is what a client sends over one connection, what it is answered, what reached the ring, and
// whether the connection goes on. The cases are those of RFC 9110 and 9112, of reports about other servers, and of
// request smuggling: a front end and this server must not see two different requests in the same bytes.
type conformanceCase struct {
	name   string
	send   string
	status []int    // of the answers, in order
	bodies []string // that were taken
	open   bool     // another request is answered afterwards
}

const (
	hostLine  = "Host: x\r\n"
	postLine  = "POST / HTTP/1.1\r\n" + hostLine
	smuggled  = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n[smuggled]"
	chunkedTE = "Transfer-Encoding: chunked\r\n"
)

func one(status int) []int      { return []int{status} }
func took(b ...string) []string { return b }

func conformanceCases() []conformanceCase {
	return slices.Concat(framing(), chunkedBodies(), smuggling(), requestLines(), headerFields(), versions(), expectations(), pipelines())
}

func framing() []conformanceCase {
	return []conformanceCase{
		{"a length", postLine + "Content-Length: 3\r\n\r\n[1]", one(200), took("[1]"), true},
		{"a length of 0", postLine + "Content-Length: 0\r\n\r\n", one(200), nil, true},
		{"no length", postLine + "\r\n", one(411), nil, true},
		{"leading zeros", postLine + "Content-Length: 003\r\n\r\n[1]", one(200), took("[1]"), true},
		{"blanks around the length", postLine + "Content-Length:  3 \t\r\n\r\n[1]", one(200), took("[1]"), true},
		{"no blank before the length", postLine + "Content-Length:3\r\n\r\n[1]", one(200), took("[1]"), true},
		{"a sign", postLine + "Content-Length: +3\r\n\r\n[1]", one(400), nil, false},
		{"negative", postLine + "Content-Length: -3\r\n\r\n[1]", one(400), nil, false},
		{"hexadecimal", postLine + "Content-Length: 0x3\r\n\r\n[1]", one(400), nil, false},
		{"a fraction", postLine + "Content-Length: 3.0\r\n\r\n[1]", one(400), nil, false},
		{"no number", postLine + "Content-Length: three\r\n\r\n[1]", one(400), nil, false},
		{"an empty length", postLine + "Content-Length:\r\n\r\n[1]", one(400), nil, false},
		{"two numbers", postLine + "Content-Length: 3 3\r\n\r\n[1]", one(400), nil, false},
		{"a list", postLine + "Content-Length: 3, 3\r\n\r\n[1]", one(400), nil, false},
		{"beyond 64 bits", postLine + "Content-Length: 99999999999999999999\r\n\r\n[1]", one(400), nil, false},
		{"larger than allowed", postLine + "Content-Length: 99999999\r\n\r\n[1]", one(413), nil, false},
		{"twice the same", postLine + "Content-Length: 3\r\nContent-Length: 3\r\n\r\n[1]", one(400), nil, false},
		{"two lengths", postLine + "Content-Length: 3\r\nContent-Length: 30\r\n\r\n[1]", one(400), nil, false},
		{"cut, and half closed", postLine + "Content-Length: 30\r\n\r\n[1]" + halfClose, one(400), nil, false},
	}
}

func chunkedBodies() []conformanceCase {
	c := func(name, body string, status []int, bodies []string, open bool) conformanceCase {
		return conformanceCase{"chunked: " + name, postLine + chunkedTE + "\r\n" + body, status, bodies, open}
	}
	return []conformanceCase{
		c("one", "3\r\n[1]\r\n0\r\n\r\n", one(200), took("[1]"), true),
		c("several", "1\r\n[\r\n1\r\n1\r\n1\r\n]\r\n0\r\n\r\n", one(200), took("[1]"), true),
		c("none", "0\r\n\r\n", one(200), nil, true),
		c("capital digits", "A\r\n[123456789\r\n1\r\n]\r\n0\r\n\r\n", one(200), took("[123456789]"), true),
		c("leading zeros", "0003\r\n[1]\r\n000\r\n\r\n", one(200), took("[1]"), true),
		c("an extension", "3;a=b;c=\"d\"\r\n[1]\r\n0\r\n\r\n", one(200), took("[1]"), true),
		c("a trailer", "3\r\n[1]\r\n0\r\nX-Sum: 1\r\n\r\n", one(200), took("[1]"), true),
		c("a length in the trailer", "3\r\n[1]\r\n0\r\nContent-Length: 5\r\n\r\n", one(400), nil, false),
		c("no size", "\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("a negative size", "-3\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("a sign", "+3\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("0x", "0x3\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("a word", "three\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("more than 64 bits", "ffffffffffffffffff\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("2 to the 63", "8000000000000000\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("LF behind the size", "3\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("LF in an extension", "3;a\nb\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("shorter than it says", "5\r\n[1]\r\n0\r\n\r\n"+halfClose, one(400), nil, false),
		c("longer than it says", "2\r\n[1]\r\n0\r\n\r\n", one(400), nil, false),
		c("no end", "3\r\n[1]\r\n"+halfClose, one(400), nil, false),
	}
}

func smuggling() []conformanceCase {
	te := func(name, value string, status []int, bodies []string) conformanceCase {
		return conformanceCase{"TE: " + name, postLine + "Transfer-Encoding:" + value + "\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", status, bodies, false}
	}
	return []conformanceCase{
		{"CL.TE", postLine + "Content-Length: 6\r\n" + chunkedTE + "\r\n0\r\n\r\n" + smuggled, one(200), nil, false},
		{"TE.CL", postLine + chunkedTE + "Content-Length: 4\r\n\r\n3\r\n[1]\r\n0\r\n\r\n" + smuggled, one(200), took("[1]"), false},
		{"TE.TE", postLine + chunkedTE + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, one(400), nil, false},
		{"TE twice", postLine + chunkedTE + chunkedTE + "\r\n0\r\n\r\n" + smuggled, one(400), nil, false},
		te("gzip behind chunked", " chunked, gzip", one(400), nil),
		te("unknown", " xchunked", one(400), nil),
		te("in quotes", " \"chunked\"", one(400), nil),
		te("a vertical tab", "\vchunked", one(400), nil),
		te("with a zero byte", " chunked\x00", one(400), nil),
		te("empty", "", one(400), nil),
		te("identity", " identity", one(400), nil),
		{"identity and a length", postLine + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n[1]" + smuggled, one(400), nil, false},
		{"a length and identity", postLine + "Content-Length: 3\r\ntransfer-encoding:IDENTITY \r\n\r\n[1]" + smuggled, one(400), nil, false},
		{"identity and a length of 0", postLine + "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + smuggled, one(400), nil, false},
		{"identity, and close", postLine + "Connection: close\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n[1]", one(400), nil, false},
		{"identity, of a GET", "GET / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: identity\r\n\r\n" + smuggled, one(400), nil, false},
		{"identity, of a GET with a length", "GET / HTTP/1.1\r\n" + hostLine + "Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n[1]" + smuggled, one(400), nil, false},
		{"identity, not found", "POST /nope HTTP/1.1\r\n" + hostLine + "Content-Length: 3\r\nTransfer-Encoding: identity\r\n\r\n[1]" + smuggled, one(400), nil, false},
		{"identity is no coding of another field", postLine + "X-Transfer-Encoding: identity\r\nTE: identity\r\nConnection: close\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), false},
		{"a blank before the colon", postLine + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, one(400), nil, false},
		{"a name in two lines", postLine + "Transfer-\r\n Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, one(400), nil, false},
		{"an underscore is another name", postLine + "Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), true},
		{"a body that is a request, refused", "POST /nope HTTP/1.1\r\n" + hostLine + "Content-Length: 62\r\n\r\n" + smuggled + strings.Repeat(" ", 62-len(smuggled)), one(404), nil, true},
		{"a body that is a request, of a GET", "GET / HTTP/1.1\r\n" + hostLine + "Content-Length: 62\r\n\r\n" + smuggled + strings.Repeat(" ", 62-len(smuggled)), one(405), nil, true},
		{"a body that is a request, unknown coding", postLine + "Content-Encoding: br\r\nContent-Length: 62\r\n\r\n" + smuggled + strings.Repeat(" ", 62-len(smuggled)), one(415), nil, true},
		{"a chunked body behind a refusal", "POST /nope HTTP/1.1\r\n" + hostLine + chunkedTE + "\r\n3\r\n[1]\r\n0\r\n\r\n" + smuggled, one(404), nil, false},
	}
}

func requestLines() []conformanceCase {
	line := func(name, first string, status int, open bool) conformanceCase {
		c := conformanceCase{name: "request line: " + name, send: first + "\r\n" + hostLine + "Content-Length: 3\r\n\r\n[1]", status: one(status), open: open}
		if status == 200 {
			c.bodies = took("[1]")
		}
		return c
	}
	return []conformanceCase{
		line("a query", "POST /?a=b HTTP/1.1", 200, true),
		line("the absolute form", "POST http://x/ HTTP/1.1", 200, true),
		line("/v1/events", "POST /v1/events HTTP/1.1", 200, true),
		line("a path that is not there", "POST /nope HTTP/1.1", 404, true),
		line("a path in capitals", "POST /V1/EVENTS HTTP/1.1", 404, true),
		line("PUT", "PUT / HTTP/1.1", 405, true),
		line("PATCH", "PATCH / HTTP/1.1", 405, true),
		line("DELETE", "DELETE / HTTP/1.1", 405, true),
		line("OPTIONS", "OPTIONS / HTTP/1.1", 405, true),
		line("an unknown method", "BREW / HTTP/1.1", 405, true),
		line("post in small letters", "post / HTTP/1.1", 405, true),
		line("no version", "POST /", 400, false),
		line("no path", "POST HTTP/1.1", 400, false),
		line("empty", "", 400, false),
		line("a zero byte", "POST /\x00 HTTP/1.1", 400, false),
	}
}

func headerFields() []conformanceCase {
	field := func(name, text string, status int) conformanceCase {
		c := conformanceCase{name: "field: " + name, send: postLine + text + "\r\nContent-Length: 3\r\n\r\n[1]", status: one(status), open: status == 200}
		if status == 200 {
			c.bodies = took("[1]")
		}
		return c
	}
	return []conformanceCase{
		field("an empty value", "X:", 200),
		field("bytes beyond ASCII", "X: \xc3\xa4\xff", 200),
		field("a name in mixed letters", "cOnTeNt-TyPe: application/json", 200),
		field("no colon", "X", 400),
		field("an empty name", ": x", 400),
		field("a blank in the name", "X Y: z", 200), // it is no other field for it
		field("a zero byte", "X: a\x00b", 400),
		field("a bare CR", "X: a\rb", 400),
		field("a value in two lines", "X: a\r\n b", 400),
		field("a value in two lines, a tab", "X: a\r\n\tb", 400),
		field("a line of one blank", "X: a\r\n ", 400),
		{"a length in two lines", postLine + "Content-Length:\r\n 3\r\n\r\n[1]", one(400), nil, false},
		{"a coding in two lines", postLine + "Transfer-Encoding:\r\n chunked\r\n\r\n3\r\n[1]\r\n0\r\n\r\n", one(400), nil, false},
		{"a blank before the first field", "POST / HTTP/1.1\r\n " + hostLine + "Content-Length: 3\r\n\r\n[1]", one(400), nil, false},
		{"a trailer in two lines", postLine + chunkedTE + "\r\n3\r\n[1]\r\n0\r\nX: a\r\n b\r\n\r\n", one(400), nil, false},
		{"no Host", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n[1]", one(400), nil, false},
		{"two Hosts", "POST / HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 3\r\n\r\n[1]", one(400), nil, false},
		{"a header that is too long", postLine + "X: " + strings.Repeat("x", 9<<10) + "\r\n\r\n", one(431), nil, false},
		{"too many fields", withFields(99) + "\r\n[]", one(431), nil, false},
		{"empty lines before", "\r\n\r\n" + postLine + "Content-Length: 3\r\n\r\n[1]", one(200), took("[1]"), true},
		{"close", postLine + "Connection: close\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), false},
		{"close among others", postLine + "Connection: TE, Close\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), false},
		{"an upgrade that is not wanted", postLine + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), true},
	}
}

func versions() []conformanceCase {
	return []conformanceCase{
		{"HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), false},
		{"HTTP/1.0, kept", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), true},
		{"HTTP/1.0, chunked", "POST / HTTP/1.0\r\n" + chunkedTE + "\r\n3\r\n[1]\r\n0\r\n\r\n", one(400), nil, false},
		{"HTTP/0.9", "POST /\r\n\r\n", one(400), nil, false},
		{"HTTP/1.2", "POST / HTTP/1.2\r\n" + hostLine + "Content-Length: 3\r\n\r\n[1]", one(200), took("[1]"), false},
		{"HTTP/2.0", "POST / HTTP/2.0\r\n" + hostLine + "Content-Length: 3\r\n\r\n[1]", one(505), nil, false},
		{"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", one(400), nil, false},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", one(400), nil, false},
		{"no HTTP", "hello\r\n\r\n", one(400), nil, false},
	}
}

func expectations() []conformanceCase {
	return []conformanceCase{
		{"100-continue", postLine + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n[1]", []int{100, 200}, took("[1]"), true},
		{"100-continue, chunked", postLine + "Expect: 100-continue\r\n" + chunkedTE + "\r\n3\r\n[1]\r\n0\r\n\r\n", []int{100, 200}, took("[1]"), true},
		{"100-continue, too large", postLine + "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", one(413), nil, false},
		{"100-continue, not found", "POST /nope HTTP/1.1\r\n" + hostLine + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n", one(404), nil, false},
		{"100-continue, identity", postLine + "Expect: 100-continue\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n", one(400), nil, false},
		{"another expectation", postLine + "Expect: tea\r\nContent-Length: 3\r\n\r\n[1]", one(200), took("[1]"), true},
	}
}

func pipelines() []conformanceCase {
	return []conformanceCase{
		{"two", post("/", "[1]") + post("/", "[2]"), []int{200, 200}, took("[1]", "[2]"), true},
		{"good, refused, good", post("/", "[1]") + post("/nope", "[2]") + post("/", "[3]"), []int{200, 404, 200}, took("[1]", "[3]"), true},
		{"good, broken, good", post("/", "[1]") + "X\r\n\r\n" + post("/", "[3]"), []int{200, 400}, took("[1]"), false},
		{"good, too large, good", post("/", "[1]") + postLine + "Content-Length: 99999999\r\n\r\n" + post("/", "[3]"), []int{200, 413}, took("[1]"), false},
		{"chunked, then a length", postLine + chunkedTE + "\r\n3\r\n[1]\r\n0\r\n\r\n" + post("/", "[2]"), []int{200, 200}, took("[1]", "[2]"), true},
		{"a body that looks like the next request", post("/", smuggled) + post("/", "[2]"), []int{200, 200}, took(smuggled, "[2]"), true},
	}
}

// halfClose at the end of what is sent closes the client's sending side.
const halfClose = "\x00half-close"

func TestConformance(t *testing.T) {
	for _, c := range conformanceCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(_ *rig, c *Config, _ *body.RoomConfig) { c.WaitForAck = true })
			cl := r.dial()
			text, half := strings.CutSuffix(c.send, halfClose)
			cl.send(text)
			if half {
				_ = cl.CloseWrite()
			}
			for i, want := range c.status {
				if got := cl.reply(); got.status != want {
					t.Fatalf("answer %d: %+v, want %d", i, got, want)
				}
			}
			bodies := c.bodies
			if c.open {
				cl.send(post("/", "[probe]"))
				bodies = append(slices.Clone(bodies), "[probe]")
				if got := cl.reply(); got.status != 200 {
					t.Fatalf("the connection does not go on: %+v", got)
				}
			} else {
				_ = cl.CloseWrite()
				if rest, err := io.ReadAll(cl.br); len(rest) > 0 || isTimeout(err) {
					t.Errorf("the connection goes on: %q, %v", rest, err)
				}
			}
			if got := r.taken(); !slices.Equal(got, bodies) {
				t.Errorf("taken %q, want %q", got, bodies)
			}
		})
	}
}

// FuzzRequests sends raw bytes over one connection, in two pieces: whatever they are, the server neither panics nor hangs,
// holds nothing afterwards, and serves the next client.
func FuzzRequests(f *testing.F) {
	for _, c := range conformanceCases() {
		f.Add([]byte(strings.TrimSuffix(c.send, halfClose)), uint16(len(c.send)/2))
	}
	long := post("/", "["+strings.Repeat(" ", 40_000)+"]")
	f.Add([]byte(long+long), uint16(len(long)-100))
	f.Add([]byte(long+post("/", "[1]")), uint16(len(long)-8000))
	r := start(f, withConfig(func(c *Config) { c.MaxBodyBytes = 64 << 10 }), withQuiet())
	r.srv.lingerTime = lingerTime
	f.Fuzz(func(t *testing.T, raw []byte, cut uint16) {
		cl := r.dialFor(t)
		n := min(int(cut), len(raw))
		_, _ = cl.Write(raw[:n])
		for try := 0; try < 100 && !r.allRead(); try++ {
			runtime.Gosched()
		}
		_, _ = cl.Write(raw[n:])
		_ = cl.CloseWrite()
		if _, err := io.Copy(io.Discard, cl); isTimeout(err) {
			t.Fatalf("it hangs after %q", raw)
		}
		_ = cl.Close()
		good := r.dialFor(t)
		good.send(post("/", "[1]"))
		if got := good.reply(); got.status != 200 {
			t.Fatalf("after %q: %+v", raw, got)
		}
		_ = good.Close()
		until(t, "nothing is held", func() bool { items, bytes := r.room.InUse(); return items == 0 && bytes == 0 })
	})
}
