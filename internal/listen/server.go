// Package listen takes deliveries over HTTP and puts their bodies into the ring.
//
// The way of a request: the header is read, the body's bytes are reserved at the gate, the body is
// read straight into a pooled buffer, the buffer becomes a [body.Body] and goes into the ring, and the
// answer is sent, at once or when every event is settled ([Config.WaitForAck]). What cannot be taken
// is refused before it is read; files: handler.go (the paths), telemetry.go (one delivery), read.go
// (the body), slow.go (one that hardly comes), refuse.go (every refusal, its status and its words),
// expect.go (100-continue), ack.go (the wait), head.go and chunked.go (bounds of headers, ends of
// requests), slim.go (memory of headers), conn.go, skip.go and linger.go (one connection), watch.go
// (all deadlines), accept.go, stats.go.
//
// # What an answer means
//
//   - 200: taken (accept), or every event is settled (ack). The answer is empty when all events of
//     the body were good, else {"events":N,"deadLettered":M}, with "dropped":K where events cannot be kept in any
//     topic, and "truncated":true where the body ended before its array.
//   - 503: no event of this body has been taken. Sending it again cannot double anything.
//   - 504: the body was taken, its outcome is not known (--ack-timeout, shutdown) or some of its
//     events were dropped, which the answer counts. Sending it again may double events.
//   - 4xx: the request cannot be taken at all. The content of a body is never the reason.
//
// # Deadlines
//
// One goroutine enforces all of them, by counting ticks (watch.go). The price is precision: a deadline
// fires up to two ticks late, a tick being an eighth of the shortest timeout and one second at most.
// It buys two or three fewer timer operations per request, and a frozen process is not charged for
// the time it did not run.
package listen

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"functiongraph-ingest/internal/bearer"
	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/internal/inflate"
	"functiongraph-ingest/internal/socket"
	"functiongraph-ingest/internal/tlsconf"
	"functiongraph-ingest/pkg/ring"

	"github.com/valyala/fasthttp"
)

// Sizes of the buffers a connection holds while it is served.
const (
	// readBufferSize is the default of Config.MaxHeaderBytes.
	readBufferSize = 8 << 10
	// writeBufferSize has room for any answer: a header of about 100 bytes and a line of text.
	writeBufferSize = 512
)

// defaultMaxConns: a platform that serves 1,000 invocations at once and others beside it.
const defaultMaxConns = 2048

// Config is what users set. The zero value of a timeout means none.
type Config struct {
	Addr         string      // host:port, where port 0 picks one, or unix:/path
	SocketMode   fs.FileMode // of unix:/path
	MaxBodyBytes int64       // larger bodies get 413
	// MaxHeaderBytes bounds a request's line and header together; longer ones get 431. Every connection that is served
	// has a read buffer of this size. 0: 8 KiB
	MaxHeaderBytes int
	AdmitWait      time.Duration // how long a body may wait at the gate before 503
	AckTimeout     time.Duration // how long an answer waits for the ack before 504
	ReadTimeout    time.Duration // for header and body together, from the first byte; and for the answer to be written
	IdleTimeout    time.Duration // for a connection without a request
	WaitForAck     bool          // answer when every event is settled, not when the body is in the ring
	MinBodyRate    int64         // bytes/s; while others want its memory or place, a slower body gets 408. 0: none is ended
	MaxConns       int           // served at the same time; a newcomer replaces one without a whole request, or gets 503. 0: 2,048
	MaxConnAge     time.Duration // after it, up to a tenth more or less, a connection ends with the answer to its request
	// KeepUsed: a connection that has carried a delivery or an invocation event is never replaced. The platform would
	// not send again what it sends while the connection is being closed.
	KeepUsed bool
	Events   bool // take deliveries on POST /v1/events as well as POST /
	// CORSOrigins are the origins whose web pages may post, scheme://host[:port]; AnyOrigin: all may.
	CORSOrigins []string
	// TelemetryPath takes deliveries instead of /, and no answer names it: who is to know it was told. "": /
	TelemetryPath string
}

// Deps is what developers inject.
type Deps struct {
	Room   *body.Room
	Ring   *ring.Ring[*body.Body]
	Now    func() time.Time // wall clock; nil: the request's own, which costs nothing
	Logger *slog.Logger     // nil: nothing is logged
	TLS    *tlsconf.Server  // nil: plaintext
	Tokens *bearer.Tokens   // nil: no request needs one
	// Health answers a GET of a path for load balancers; false: the path is not one of its own. nil: there is none.
	Health func(path string) (status int, text []byte, ok bool)
	// Refresh reads again what may have changed in files, at most once a second and while requests come; nil: nothing.
	Refresh func()
	// OnInvoke hears each invocation event. It owns nothing: data is valid until it returns, and it
	// must not block. nil: there are none, and their paths are not found.
	OnInvoke func(data []byte)
	// OnAnswer hears how long a delivery took, from its header to its answer. It must not block; nil: not wanted.
	OnAnswer func(d time.Duration)
}

// Server is the listener. Use [New]. All methods are safe for concurrent use.
type Server struct {
	cfg  Config
	deps Deps
	http *fasthttp.Server
	ln   net.Listener
	// accepting is full while Serve runs.
	accepting chan struct{}

	// ctx ends at Drain: a delivery that waits for its first bytes of room then is refused at once. hard ends at
	// Abort, for those that have a part of their body.
	ctx, hard          context.Context
	cancel, cancelHard context.CancelFunc

	admission admission
	conns     registry
	pace      pace
	limits    ticks
	texts     texts
	guard     guard
	full      int64 // refusals for want of memory at the last tick
	complaint complaints
	inflater  *inflate.Inflater
	scratch   []byte // what is dropped is read into; never written nor read
	leftover  leftover
	// The constants; tests have longer ones.
	lingerTime, lastLinger time.Duration

	lastDate atomic.Pointer[dateLine]
	dated    sync.Pool     // of *[]byte: an answer while it gets its Date
	crowded  atomic.Bool   // a delivery waits for memory, or was refused since the last tick
	aborted  atomic.Bool   // no wait for an ack any more
	stopping atomic.Bool   // idle connections are closed
	firstID  atomic.Uint64 // ids of bodies count from here: random, so that no other process has the same
	count    counters
}

// Renew gives the bodies that come from now on other ids: a copy of this process would give them the same.
func (s *Server) Renew() {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails; not math/rand, whose state a copy of the process would share
	s.firstID.Store(binary.LittleEndian.Uint64(id[:]) >> 1)
}

// New returns a server that does not listen yet.
func New(cfg Config, deps Deps) *Server {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = defaultMaxConns
	}
	if cfg.MaxHeaderBytes <= 0 {
		cfg.MaxHeaderBytes = readBufferSize
	}
	if cfg.TelemetryPath == "" {
		cfg.TelemetryPath = "/"
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, deps: deps, scratch: make([]byte, scratchSize), lingerTime: lingerTime, lastLinger: lastLinger}
	s.Renew()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.hard, s.cancelHard = context.WithCancel(context.Background())
	s.accepting = make(chan struct{}, 1)
	s.admission.init()
	s.limits = newTicks(&cfg)
	s.pace.init()
	s.inflater = inflate.New(cfg.MaxBodyBytes)
	s.leftover.buf = make([]byte, cfg.MaxHeaderBytes)
	s.conns.init(&s.limits, s.tick)
	s.guard = newGuard(&cfg)
	s.texts = newTexts(&cfg, deps.Room, deps.OnInvoke != nil)
	s.http = &fasthttp.Server{
		Handler:           s.handle,
		ErrorHandler:      s.broken,
		ExpectHandler:     s.expect,
		ConnState:         connState,
		Logger:            silent{},
		StreamRequestBody: true,
		// fasthttp reads up to this much of a body before it calls the handler, into a buffer of its
		// own: before it is admitted, and to be copied once more. 1 is the least it accepts; the
		// handler sees every longer body as a stream.
		MaxRequestBodySize:           1,
		DisablePreParseMultipartForm: true,
		ReadBufferSize:               cfg.MaxHeaderBytes,
		WriteBufferSize:              writeBufferSize,
		Concurrency:                  math.MaxInt32, // accept.go counts
		NoDefaultServerHeader:        true,
		NoDefaultDate:                true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		// Timeouts are not set: watch.go is cheaper and knows more.
	}
	return s
}

// tick is called once a tick while there are connections.
func (s *Server) tick() {
	c := &s.count
	full := c.refused[reasonFull].Load()
	s.crowded.Store(s.deps.Room.Waiting() > 0 || full != s.full)
	s.full = full
	s.complain()
	s.pace.tick(int64(c.bodies.Load()), full+c.refused[reasonTooManyConns].Load())
}

// Listen binds the address. After it clients can connect; they are answered once Serve runs.
func (s *Server) Listen() error {
	ln, err := socket.Listen(s.cfg.Addr, s.cfg.SocketMode)
	if err != nil {
		return err
	}
	s.ln = ln
	return nil
}

// Addr is the bound host:port or unix:/path, or "" before Listen.
func (s *Server) Addr() string {
	if s.ln == nil {
		return ""
	}
	return socket.Text(s.ln.Addr())
}

// Drain refuses every new body from now on with 503 and closes its connection. Bodies that are being
// read go on, and those that were taken keep waiting for their ack. Invocation events are still
// acknowledged: the function must not fail because of us.
func (s *Server) Drain() {
	s.admission.close()
	s.cancel()
}

// WaitAdmitted waits, after Drain, until no handler is between its reservation and its push any more:
// from then on nothing new comes into the ring. It returns ctx.Err() when ctx ends first.
func (s *Server) WaitAdmitted(ctx context.Context) error {
	select {
	case <-s.admission.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Abort answers all that wait for an ack with 504 now, and all that come to wait later. A request that is still
// coming gets 503: it is not taken any more.
func (s *Server) Abort() {
	s.aborted.Store(true)
	s.cancelHard()
	s.conns.each((*conn).abort)
}

// Shutdown drains, closes the listener and the idle connections, and waits until the others have
// their answers: those too whose request is in the socket, or in the kernel's queue of connections.
// When ctx ends first it aborts, closes every connection and returns ctx.Err(). In both
// cases no goroutine of the server is left when it returns, provided that OnInvoke returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	err := s.closeListener(ctx)
	gone := s.conns.shut()
	s.conns.each((*conn).closeIdle)
	again := time.NewTicker(s.lastLinger)
	defer again.Stop()
	for open := true; open; {
		select {
		case <-gone:
			open = false
		case <-again.C:
			s.conns.each((*conn).closeLate)
		case <-ctx.Done():
			err, open = ctx.Err(), false
			s.Abort()
			s.conns.each((*conn).kill)
			<-gone
		}
	}
	s.conns.wg.Wait()
	return err
}

// longestQueue bounds how often the queue of the listener is looked at: once a millisecond.
const longestQueue = 100

// closeListener closes the listener when all that were in its queue have been accepted, which a close would reset: their
// requests may be there. It waits until Serve has found places for them.
func (s *Server) closeListener(ctx context.Context) error {
	if s.ln == nil {
		s.stopping.Store(true)
		return nil
	}
	for looks := 0; looks < longestQueue && ctx.Err() == nil && queuedAt(s.ln); looks++ {
		time.Sleep(time.Millisecond)
	}
	s.stopping.Store(true)
	err := s.ln.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // a second Shutdown
	}
	s.accepting <- struct{}{}
	<-s.accepting
	return err
}

// silent: fasthttp has nothing to say that is not counted.
type silent struct{}

func (silent) Printf(string, ...any) {}
