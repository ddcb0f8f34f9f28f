package listen

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/pkg/rawconn"
	"functiongraph-ingest/pkg/ring"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if args := os.Getenv(clientEnv); args != "" {
		if err := actAsClient(args); err != nil {
			fmt.Println(err)
		}
		return
	}
	if args := os.Getenv(stuckEnv); args != "" {
		if err := actAsStuck(args); err != nil {
			fmt.Println(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// outcome is what the test's consumer does with a body.
type outcome struct {
	events, dead, lost int
	noEvent, noDead    int // of lost, for good
	truncated          bool
	never              bool // not settled until the test ends
}

// rig is a server with everything around it, and a consumer in the decoder's place.
type rig struct {
	t     testing.TB
	srv   *Server
	room  *body.Room
	ring  *ring.Ring[*body.Body]
	addr  string
	limit int64
	deps  Deps // what options add

	consume func(*body.Body) outcome // nil: one good event
	quiet   bool                     // bodies are not kept
	still   bool                     // no tick passes by itself
	hold    chan struct{}            // the consumer takes one value per body; nil: at once
	accept  func()                   // connections wait in the kernel's queue until this is called; nil: they do not
	served  chan error
	done    chan struct{}

	mu     sync.Mutex
	bodies []string
	nd     []bool
	ids    []uint64
	open   []*body.Delivery // never settled

	invocations atomic.Int64
}

type option func(*rig, *Config, *body.RoomConfig)

func start(t testing.TB, opts ...option) *rig {
	t.Helper()
	_, isTest := t.(*testing.T)
	r := &rig{t: t, quiet: !isTest, served: make(chan error, 1), done: make(chan struct{})}
	cfg := Config{
		Addr: "127.0.0.1:0", MaxBodyBytes: 4 << 20, AdmitWait: 10 * time.Second, AckTimeout: time.Minute,
		ReadTimeout: time.Minute, IdleTimeout: time.Minute, WaitForAck: true, Events: true,
	}
	gc := body.RoomConfig{Items: 1024, Bytes: 16 << 20}
	for _, o := range opts {
		o(r, &cfg, &gc)
	}
	r.limit = gc.Bytes
	gc.MaxBody = cfg.MaxBodyBytes
	r.room, r.ring = body.NewRoom(gc), ring.New[*body.Body](gc.Items)
	r.deps.Room, r.deps.Ring, r.deps.OnInvoke = r.room, r.ring, func([]byte) { r.invocations.Add(1) }
	r.srv = New(cfg, r.deps)
	if r.still {
		r.srv.conns.tick = time.Hour
	}
	r.srv.lingerTime = time.Minute // a stalled machine must not end a linger
	if err := r.srv.Listen(); err != nil {
		t.Fatal(err)
	}
	r.addr = r.srv.Addr()
	if serve := func() { r.served <- r.srv.Serve() }; r.accept == nil {
		go serve()
	} else {
		r.accept = sync.OnceFunc(func() { go serve() })
	}
	go r.run()
	t.Cleanup(r.stop)
	return r
}

func withConfig(f func(*Config)) option { return func(_ *rig, c *Config, _ *body.RoomConfig) { f(c) } }
func withGate(items int, bytes int64) option {
	return func(_ *rig, _ *Config, g *body.RoomConfig) { g.Items, g.Bytes = items, bytes }
}
func withOutcome(o outcome) option {
	return func(r *rig, _ *Config, _ *body.RoomConfig) { r.consume = func(*body.Body) outcome { return o } }
}
func withQuiet() option {
	return func(r *rig, _ *Config, _ *body.RoomConfig) { r.quiet = true }
}

func withHold() option {
	return func(r *rig, _ *Config, _ *body.RoomConfig) { r.hold = make(chan struct{}) }
}

func withQueue() option {
	return func(r *rig, _ *Config, _ *body.RoomConfig) { r.accept = func() {} }
}

// run is the decoder's place: it takes bodies, gives them back and settles.
func (r *rig) run() {
	defer close(r.done)
	var batch [32]*body.Body
	for {
		n, err := r.ring.PopBatch(batch[:])
		if err != nil {
			return
		}
		for _, b := range batch[:n] {
			if r.hold != nil {
				<-r.hold
			}
			r.one(b)
		}
	}
}

func (r *rig) one(b *body.Body) {
	o := outcome{events: 1}
	if r.consume != nil {
		o = r.consume(b)
	}
	if _, used := r.room.InUse(); used > r.limit {
		r.t.Errorf("%d bytes reserved of %d", used, r.limit)
	}
	r.mu.Lock()
	if !r.quiet {
		r.bodies, r.nd, r.ids = append(r.bodies, string(b.Data)), append(r.nd, b.NDJSON), append(r.ids, b.ID)
	}
	d := b.Delivery
	if o.never && d != nil {
		r.open = append(r.open, d)
	}
	r.mu.Unlock()
	r.room.Release(b)
	if d != nil && !o.never {
		d.Events, d.DeadLettered, d.Truncated = o.events, o.dead, o.truncated
		d.Hopeless(o.noEvent, false)
		d.Hopeless(o.noDead, true)
		d.Settle(o.lost)
	}
}

// stop ends everything and checks that nothing is left behind.
func (r *rig) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r.srv.Drain()
	if r.hold != nil {
		close(r.hold)
	}
	if r.accept != nil {
		r.accept()
	}
	r.srv.Abort()
	if err := r.srv.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown: %v", err)
	}
	if err := <-r.served; err != nil {
		r.t.Errorf("serve: %v", err)
	}
	r.ring.Close()
	<-r.done
	if items, bytes := r.room.InUse(); items != 0 || bytes != 0 {
		r.t.Errorf("%d items and %d bytes are still reserved", items, bytes)
	}
	for _, d := range r.open {
		d.Settle(0) // late: nobody waits, and it must not matter
	}
	if n := r.srv.Stats().OpenConns; n != 0 {
		r.t.Errorf("%d connections are still open", n)
	}
}

// occupy takes n bytes of the room, as short bodies of others would, until the function it returns is called.
func (r *rig) occupy(n int64) (release func()) {
	r.t.Helper()
	var took []int64
	for n > 0 {
		part := min(n, 64<<10)
		if err := r.room.Reserve(context.Background(), part, 0); err != nil {
			r.t.Fatal(err)
		}
		took, n = append(took, part), n-part
	}
	return func() {
		for _, part := range took {
			r.room.Cancel(part)
		}
		took = nil
	}
}

// withTestTicks lets ticks pass in pass only.
func withTestTicks() option {
	return func(r *rig, _ *Config, _ *body.RoomConfig) { r.still = true }
}

// pass lets n ticks pass for every deadline.
func (r *rig) pass(n uint64) {
	now := r.srv.conns.now.Add(n)
	r.srv.conns.each(func(c *conn) { c.expireLocked(now) })
}

// inPhase counts connections.
func (r *rig) inPhase(p phase) (n int) {
	r.srv.conns.each(func(c *conn) {
		if phaseOf(c.state.Load()) == p {
			n++
		}
	})
	return n
}

func (r *rig) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

// until waits for a condition that other goroutines bring about.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// allRead reports whether a connection is in the middle of a request and has read all that came.
func (r *rig) allRead() (ok bool) {
	r.srv.conns.each(func(c *conn) { ok = ok || phaseOf(c.state.Load()) == reading && c.Queued() == 0 })
	return ok
}

// client is a raw connection.
type client struct {
	t testing.TB
	*net.TCPConn
	br *bufio.Reader
}

func (r *rig) dial() *client { return r.dialFor(r.t) }

// dialFor is dial for a test within the rig's.
func (r *rig) dialFor(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, TCPConn: nc.(*net.TCPConn), br: bufio.NewReader(nc)}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second)) // a hang must end as a failure
	t.Cleanup(func() { _ = nc.Close() })
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// held is a connection whose goroutine has no CPU until serve is called; a test must.
func (r *rig) held() (cl *client, serve func()) {
	r.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer ln.Close()
	cl = (&rig{t: r.t, addr: ln.Addr().String()}).dial()
	nc, err := ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	c := r.srv.newConn(nc.(rawconn.Stream))
	if !r.srv.place(c) {
		r.t.Fatal("no place")
	}
	return cl, func() { go r.srv.serve(c) }
}

type reply struct {
	status int
	header http.Header
	body   string
	close  bool
}

func (c *client) read() (reply, error) { return c.readFor(http.MethodPost) }

func (c *client) readFor(method string) (reply, error) {
	resp, err := http.ReadResponse(c.br, &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return reply{resp.StatusCode, resp.Header, string(b), resp.Close}, err
}

func (c *client) reply() reply {
	c.t.Helper()
	r, err := c.read()
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return r
}

// replyTo is reply to a request of another method than POST.
func (c *client) replyTo(method string) reply {
	c.t.Helper()
	r, err := c.readFor(method)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	return r
}

// closed fails unless the server closes the connection now.
func (c *client) closed() {
	c.t.Helper()
	if n, err := c.br.ReadByte(); err != io.EOF {
		c.t.Errorf("the connection is not closed: read %q, %v", n, err)
	}
}

func post(path, data string, header ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n", path, strconv.Itoa(len(data)))
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n" + data)
	return b.String()
}
