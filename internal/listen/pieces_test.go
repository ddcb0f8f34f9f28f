package listen

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
)

// edges are lengths around those of buffers, of TLS records and of bounds.
var edges = []int{
	0, 1, 2, 3, 7, 100, 511, 512, 1023, 1024, 2048, 4095, 4096, 4097, 8190, 8191, 8192, 8193, 8194, 16383, 16384, 16385,
	16640, 24576, 32768, 65535, 65536, 65537, 100_000,
}

// requestKinds make a request with a body of n bytes, or with something else of that length.
var requestKinds = []func(n int) string{
	func(n int) string { return post("/", filled(n)) },
	func(n int) string { return post("/", filled(n)) },
	func(n int) string { return postLine + chunkedTE + "\r\n" + chunksOf(filled(n), n) + "0\r\n\r\n" },
	func(n int) string { return postLine + chunkedTE + "\r\n" + chunksOf(filled(n), 4096) + "0\r\n\r\n" },
	func(n int) string {
		return postLine + chunkedTE + "\r\n" + chunksOf(filled(min(n, 3000)), 1) + "0\r\nX: 1\r\nY: 2\r\n\r\n"
	},
	func(n int) string { return post("/", zipped(n), "Content-Encoding: gzip") },
	func(n int) string {
		return postLine + chunkedTE + "Content-Encoding: gzip\r\n\r\n" + chunksOf(zipped(n), 8192) + "0\r\n\r\n"
	},
	func(n int) string { return post("/", filled(n), "Content-Encoding: gzip") }, // corrupt
	func(n int) string { return post("/", filled(n), "Content-Encoding: br") },
	func(n int) string { return post("/nope", filled(n)) },
	func(n int) string {
		return "POST /nope HTTP/1.1\r\n" + hostLine + chunkedTE + "\r\n" + chunksOf(filled(n), 100) + "0\r\n\r\n"
	},
	func(n int) string { return "GET" + strings.TrimPrefix(post("/", filled(n)), "POST") },
	func(n int) string { return "HEAD" + strings.TrimPrefix(post("/", filled(n)), "POST") },
	func(n int) string { return post("/extension/invoke", filled(n)) },
	func(n int) string { return eventLine + chunkedTE + "\r\n" + chunksOf(filled(n), 1000) + "0\r\n\r\n" },
	func(n int) string { return post("/", filled(n), "Expect: 100-continue") },
	func(n int) string {
		return postLine + chunkedTE + "Expect: 100-continue\r\n\r\n" + chunksOf(filled(n), 5000) + "0\r\n\r\n"
	},
	func(n int) string {
		return fmt.Sprintf("POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%s", n, filled(n))
	},
	func(n int) string { return post("/", "[1]", "X: "+strings.Repeat("x", n)) },
	func(n int) string { return post("/", filled(n), "Content-Type: application/x-ndjson") },
	func(n int) string { return post("/", filled(n), "Connection: close") },
	func(n int) string { return strings.Repeat("\r\n", min(n, 4000)) },
	func(int) string { return withFields(99) + "\r\n[]" },
	func(int) string { return postLine + "Content-Length: 99999999\r\n\r\n" },
	func(int) string { return "POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\n[1]" },
	func(n int) string { return postLine + chunkedTE + "\r\n" + chunksOf(filled(n), 4096) + "x\r\n" },
	func(int) string { return postLine + "\r\n" },
	func(int) string { return "X\r\n\r\n" },
}

func filled(n int) string {
	if n < 2 {
		return strings.Repeat("1", n)
	}
	return "{" + strings.Repeat(" ", n-2) + "}"
}

// zipped is a gzip stream of at least n bytes, and of just as many where that is possible.
func zipped(n int) string {
	pack := func(name string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Name = name
		_, _ = z.Write([]byte(`[1]`))
		_ = z.Close()
		return b.String()
	}
	short := pack("")
	return pack(strings.Repeat("n", max(0, min(n-len(short)-1, 500)))) + strings.Repeat(short, max(0, n-500)/len(short))
}

// chunksOf puts data into chunks of at most n bytes.
func chunksOf(data string, n int) string {
	var b strings.Builder
	for len(data) > 0 {
		m := min(len(data), max(1, n))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", m, data[:m])
		data = data[m:]
	}
	return b.String()
}

// stream makes requests of a program: each takes two bytes, its kind and its length.
func stream(program []byte) string {
	var b strings.Builder
	for ; len(program) >= 2 && b.Len() < 150_000; program = program[2:] {
		b.WriteString(requestKinds[int(program[0])%len(requestKinds)](edges[int(program[1])%len(edges)]))
	}
	return b.String()
}

// pieces cuts what is sent: each byte of cuts is the length of a piece, or names one. The last one is the rest.
func pieces(s string, cuts []byte) (p []string) {
	for _, c := range cuts[:min(len(cuts), 40)] {
		n := int(c)
		if n >= 128 {
			n = edges[(n-128)%len(edges)]
		}
		n = min(n, len(s))
		p, s = append(p, s[:n]), s[n:]
	}
	return append(p, s)
}

// The ways in which a stream may be sent.
const (
	inTLS  = 1 << iota // else plain
	tls12              // else TLS 1.3
	atOnce             // the records of all pieces in one write
	ways
)

// outcomeOf is what a client sees of a stream, and the server takes.
type outcomeOf struct {
	answers []string
	bodies  []string
	events  int64
}

var dates = regexp.MustCompile(`Date: [^\r]*\r\n`)

// cutRig is a server and its latest bodies.
type cutRig struct {
	*rig
	config *tls.Config
	bodies []string
}

func startCut(f *testing.F, opts ...option) *cutRig {
	c := &cutRig{}
	opts = append(opts, withQuiet(), withConfig(func(c *Config) { c.MaxBodyBytes = 80_000 }), func(r *rig, _ *Config, _ *body.RoomConfig) {
		r.consume = func(b *body.Body) outcome {
			c.bodies = append(c.bodies, fmt.Sprintf("%t %s", b.NDJSON, b.Data))
			return outcome{events: 1}
		}
	})
	c.rig = start(f, opts...)
	c.srv.lingerTime = lingerTime
	return c
}

// through sends pieces, each when the one before was read, and returns what came of them.
func (r *cutRig) through(t *testing.T, pieces []string, way int) (o outcomeOf) {
	t.Helper()
	r.bodies = nil
	events := r.invocations.Load()
	cl := r.dialFor(t)
	_ = cl.SetDeadline(time.Now().Add(20 * time.Second))
	var conn interface {
		io.ReadWriteCloser
		CloseWrite() error
	} = cl.TCPConn
	held := &heldConn{Conn: cl.TCPConn}
	if way&inTLS != 0 {
		config := r.config.Clone()
		if way&tls12 != 0 {
			config.MaxVersion = tls.VersionTLS12
		}
		conn = tls.Client(held, config)
		if err := conn.(*tls.Conn).Handshake(); err != nil {
			t.Fatal(err)
		}
	}
	held.hold = way&atOnce != 0
	for _, p := range pieces {
		_, _ = io.WriteString(conn, p)
		for try := 0; try < 2000 && !held.hold && !r.wantsMore(); try++ {
			runtime.Gosched()
		}
	}
	_ = conn.CloseWrite()
	held.release()
	text, err := io.ReadAll(conn)
	if isTimeout(err) {
		t.Fatalf("it hangs after %q", text)
	}
	_ = cl.Close()
	until(t, "it is closed", func() bool { return r.srv.Stats().OpenConns == 0 })
	if items, n := r.room.InUse(); items != 0 || n != 0 {
		t.Fatalf("%d items and %d bytes are still reserved", items, n)
	}
	o.answers = strings.SplitAfter(dates.ReplaceAllString(string(text), ""), "HTTP/1.1 ")
	o.bodies, o.events = slices.Clone(r.bodies), r.invocations.Load()-events
	return o
}

// wantsMore reports whether the connection has read all that came, or reads no more.
func (r *rig) wantsMore() bool {
	ok := false
	r.srv.conns.each(func(c *conn) {
		switch phaseOf(c.state.Load()) {
		case idle, reading, asleep:
			ok = c.Queued() == 0
		case closing:
			ok = true
		}
	})
	return ok
}

// sameAs reports whether both are the same. Where the last answer refuses and closes, the reason may be another: a
// request may have several faults.
func (o outcomeOf) sameAs(p outcomeOf) bool {
	refusal := func(s string) bool {
		return len(s) > 3 && s[0] == '4' && strings.Contains(s, "\r\nConnection: close\r\n")
	}
	n := len(o.answers) - 1
	if len(p.answers) != n+1 || !slices.Equal(o.bodies, p.bodies) || o.events != p.events || !slices.Equal(o.answers[:n], p.answers[:n]) {
		return false
	}
	return o.answers[n] == p.answers[n] || refusal(o.answers[n]) && refusal(p.answers[n])
}

// FuzzPieces sends the same bytes over two connections: at once, and in pieces, of which each is sent when the server has
// read the one before, plain or in TLS. Both get the same answers, and the same bodies and events are taken.
func FuzzPieces(f *testing.F) {
	secure, config := secured(f, false)
	plain, tlsRig := startCut(f), startCut(f, secure)
	tlsRig.config = config
	for kind := range requestKinds {
		rnd := rand.New(rand.NewPCG(uint64(kind), 1))
		some := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			return b
		}
		program := append([]byte{0, byte(rnd.Uint32()), byte(kind), byte(rnd.Uint32())}, some(4)...)
		f.Add(program, "", some(1+rnd.IntN(12)), uint8(kind%ways))
	}
	f.Fuzz(func(t *testing.T, program []byte, raw string, cuts []byte, way uint8) {
		s := stream(program) + raw
		r := plain
		if way &= ways - 1; way&inTLS != 0 {
			r = tlsRig
		} else {
			way = 0
		}
		want := plain.through(t, []string{s}, 0)
		if got := r.through(t, pieces(s, cuts), int(way)); !got.sameAs(want) {
			t.Fatalf("%q in pieces of %v, way %d:\n%v\nat once:\n%v", shortened(s), cuts, way, got, want)
		}
	})
}

func (o outcomeOf) String() string {
	return fmt.Sprintf("%d bodies, %d events, %q", len(o.bodies), o.events, o.answers)
}

var blanks = regexp.MustCompile(` {20,}`)

func shortened(s string) string { return blanks.ReplaceAllString(s, "…") }
