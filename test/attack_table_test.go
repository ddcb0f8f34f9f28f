package test

import (
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

var allAttacks = flag.Bool("attacks", false, "try every row of the table in docs/security.md, and print it")

// attack is what many connections do until they are told to stop. Each sends first, then again and again; a
// connection that the server closes is made anew.
type attack struct {
	name         string
	mib          int64
	conns        int
	admin, ext   bool
	first, again string
	every        time.Duration // between two sends of again; 0: as fast as it goes
	reads        bool          // the answers
	often        bool          // it is tried in every run of the tests
}

func attacks() []attack {
	const post = "POST / HTTP/1.1\r\nHost: x\r\n"
	fields := strings.Repeat("a:b\r\n", 800)
	body := func(s string) string { return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, len(s), s) }
	fill := func(begin, s, end string) string {
		return begin + strings.Repeat(s, (4<<20-len(begin)-len(end))/len(s)) + end
	}
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	list := []attack{
		{name: "800 tiny fields, no end", mib: 32, conns: 340, first: post + fields}, {name: "800 tiny fields, no end", mib: 64, conns: 1000, first: post + fields},
		{name: "800 tiny fields, complete", mib: 32, conns: 340, first: post + fields + "Content-Length: 2\r\n\r\n[]"},
		{name: "800 tiny fields, complete", mib: 64, conns: 1000, first: post + fields + "Content-Length: 2\r\n\r\n[]"},
		{name: "admin: 1 MB of header", mib: 32, conns: 400, admin: true, first: "GET /ledger HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20)},
		{name: "admin: 1 MB of header", mib: 64, conns: 1000, admin: true, first: "GET /ledger HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20)},
		{name: "admin: idle", mib: 64, conns: 3000, admin: true},
		{name: "admin: /metrics without pause", mib: 64, conns: 50, admin: true, again: "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", reads: true},
		{name: "invocation events of 64 KiB, last bytes slow", mib: 32, conns: 340, ext: true, first: "POST /extension/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 65000), often: true},
		{name: "invocation events of 64 KiB, last bytes slow", mib: 64, conns: 1000, ext: true, first: "POST /extension/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" + strings.Repeat("x", 65000), often: true},
		{name: "120 kB announced, 1 byte/s", mib: 64, conns: 150, first: post + "Content-Length: 120000\r\n\r\n", again: " ", every: time.Second},
		{name: "chunked, 1 byte/s", mib: 64, conns: 300, first: chunked, again: "1\r\n \r\n", every: time.Second},
		{name: "silent", mib: 64, conns: 1024, often: true}, {name: "silent", mib: 64, conns: 2200},
		{name: "4 MiB announced, 1 byte/s", mib: 64, conns: 1000, first: post + "Content-Length: 4194304\r\n\r\n", again: " ", every: time.Second},
		{name: "headers byte by byte", mib: 64, conns: 1024, first: "POST / HT", again: "x", every: time.Second},
		{name: "never reads: 404s", mib: 64, conns: 500, again: strings.Repeat("GET /nope HTTP/1.1\r\nHost: x\r\n\r\n", 100)},
		{name: "never reads: deliveries", mib: 64, conns: 500, again: strings.Repeat(body("[1]"), 100)},
		{name: "connect and close", mib: 64, conns: 50, first: "POST", again: "", every: -1},
		{name: "endless chunked", mib: 64, conns: 80, first: chunked, again: "1000\r\n" + strings.Repeat(" ", 4096) + "\r\n"},
		{name: "chunks of 1 byte", mib: 64, conns: 80, first: chunked, again: strings.Repeat("1\r\n \r\n", 500)},
		{name: "chunks with 3.9 kB of extension", mib: 64, conns: 80, first: chunked, again: "1;" + strings.Repeat("x", 3900) + "\r\n \r\n"},
		{name: "endless extension", mib: 64, conns: 80, first: chunked + "1;", again: strings.Repeat("x", 4096)},
		{name: "endless trailer", mib: 64, conns: 80, first: chunked + "0\r\n", again: strings.Repeat("X: y\r\n", 500)},
		{name: "1 MB of header", mib: 64, conns: 200, first: post + "X: " + strings.Repeat("x", 1<<20)},
		{name: "100-continue and no body", mib: 64, conns: 1000, first: post + "Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"},
	}
	for _, b := range []struct{ name, text string }{
		{"1.4 M {}", fill("[", "{},", "{}]")}, {"2 M dead letters", fill("[", "1,", "1]")},
		{"every element broken", fill("[", `{"name":"function","startTime":"2023-02-01T00:03:50.000Z","x":},`, "{}]")},
		{"nesting of 1,000,000", fill(`[{"a":`, "[", "")}, {"[", fill("", "[", "")}, {"{", fill("", "{", "")}, {`[{"a":`, fill("", `[{"a":`, "")}, {`"\u0000`, fill("", `"\u0000`, "")},
		{`"`, fill("", `"`, "")}, {`\`, fill("", `\`, "")}, {"commas", fill("[", ",", "]")}, {"an open string", fill(`[{"a":"`, "x", "")},
		{`4 MiB of \u0000 in one string`, fill(`[{"a":"`, `\u0000`, `"}]`)}, {"one string", fill(`[{"a":"`, "x", `"}]`)},
		{"a traceId of 4 MiB", fill(`[{"traceId":"`, "k", `"}]`)}, {"many small traceIds", fill("[", `{"traceId":"a"},`, "{}]")},
		{"exactly --max-body", fill("[", " ", "{}]") + strings.Repeat(" ", 4<<20-len(fill("[", " ", "{}]")))}, {"one byte more than --max-body", fill("[", " ", "{}]") + strings.Repeat(" ", 1+4<<20-len(fill("[", " ", "{}]")))},
	} {
		list = append(list, attack{name: "bodies of 4 MiB: " + b.name, mib: 64, conns: 20, again: body(b.text), reads: true})
	}
	return list
}

// The attacks of docs/security.md: the process stays within its memory limit and 8 MiB, a well-behaved client is
// served meanwhile, and the ledger is exact.
func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		if !a.often && !*allAttacks {
			continue
		}
		t.Run(fmt.Sprintf("%s, %d connections, %d MiB", a.name, a.conns, a.mib), func(t *testing.T) {
			args := []string{"serve", "--listen", "{listen}"}
			if a.ext {
				args = []string{"extension", "--spool-dir=off"}
			}
			o := proc.Options{Bin: proc.Build(t), Args: append(args, "--admin", "{admin}", "--sink", "ndjson", "--output", "/dev/null", "--memory-limit", fmt.Sprintf("%dMiB", a.mib))}
			p := proc.Start(t, o)
			addr, front := p.Listen, p.Listen
			if a.ext {
				addr = listenAddress(t, p)
				front = addr
			}
			if a.admin {
				addr = p.Admin
			}
			stop := make(chan struct{})
			var all sync.WaitGroup
			for range a.conns {
				all.Go(func() { a.run(addr, stop) })
			}
			served, tried := 0, 0
			for end := time.Now().Add(3 * time.Second); time.Now().Before(end) || served == 0 && tried < 20; tried++ {
				served += goodPost(t, "http://"+front+"/")
			}
			close(stop)
			all.Wait()
			peak, err := p.PeakRSS()
			must(t, err)
			code, l := p.MustStop(t)
			over := float64(peak)/(1<<20) - float64(a.mib)
			t.Logf("| %s | %d | %d | %+.1f | %d of %d | %v |", a.name, a.conns, a.mib, over, served, tried, l.Bodies.Refused)
			if over > 8 || served == 0 || l.Balance() != nil || code != 0 {
				t.Errorf("exit %d, ledger %+v", code, *l)
			}
		})
	}
}

// listenAddress is where an extension listens, by its log.
func listenAddress(t *testing.T, p *proc.Process) string {
	t.Helper()
	_, rest, ok := strings.Cut(p.Stderr(), "listen=")
	address, _, _ := strings.Cut(rest, "\n")
	if address = strings.Trim(strings.Fields(address + " ")[0], `"`); !ok {
		t.Fatalf("no address in\n%s", p.Stderr())
	}
	return address
}

func (a *attack) run(addr string, stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		a.attend(c, stop)
		_ = c.Close()
	}
}

// attend does its work over one connection until the server ends it.
func (a *attack) attend(c net.Conn, stop chan struct{}) {
	if a.reads {
		go func() { _, _ = io.Copy(io.Discard, c) }() // ends with the connection
	}
	text := a.first
	for {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(c, text); err != nil && !isTimeout(err) || a.every < 0 {
			return
		}
		if text = a.again; a.again == "" { // it holds the connection
			_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); err == nil || !isTimeout(err) {
				return
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(a.every):
		}
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
