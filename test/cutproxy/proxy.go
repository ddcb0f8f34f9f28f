// Package cutproxy is a TCP proxy in front of a Kafka broker that misbehaves on demand: it swallows a
// share of the broker's answers and cuts the connection, so that the client cannot know whether its
// request was carried out; it delays, narrows, pauses and refuses connections.
//
// It understands the frames of the Kafka protocol, so it works on plaintext listeners only, and every
// request must have an answer (a produce request with acks=0 has none). Clients follow the addresses
// that a broker advertises, so the broker must advertise the proxy's: see [Fleet].
package cutproxy

import (
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"functiongraph-ingest/test/internal/freeport"
)

// KeyProduce is the API key of produce requests, for [Faults] and [Stats].
const KeyProduce = 0

// dialTimeout is the longest wait for the broker to accept.
const dialTimeout = 10 * time.Second

// Faults are what the proxy does to connections, also to those that are open already. The zero value
// does nothing.
type Faults struct {
	// Cut is the share of the broker's answers, 0 to 1, that is swallowed; the connection is then
	// closed, with a reset in half of the cases.
	Cut float64
	// CutKeys limits Cut to answers to requests with these API keys; nil means all.
	CutKeys []int16
	// Hidden are API keys that the broker seems not to have: its answer to ApiVersions leaves them out, and a request with
	// one of them ends the connection.
	Hidden []int16
	// Latency delays every byte, in both directions.
	Latency time.Duration
	// BytesPerSecond limits each direction of each connection; 0 means no limit.
	BytesPerSecond int64
}

// Stats count what has happened since the start.
type Stats struct {
	Connections int64
	Requested   int64           // bytes of clients' requests
	Largest     int64           // bytes of the largest one
	Answers     int64           // answers of the broker that were seen, cut ones included
	Cuts        int64           // answers swallowed
	CutsByKey   map[int16]int64 // the same by the request's API key
}

// Proxy is one listener in front of one broker. All methods are safe for concurrent use.
type Proxy struct {
	addr string
	wg   sync.WaitGroup // all goroutines

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while refusing
	faults   Faults
	rng      *rand.Rand
	stats    Stats
	links    map[*link]struct{}
	flowing  chan struct{} // closed while data flows; replaced by an open one at Pause
	closed   bool
}

// New starts a proxy on a free loopback address in front of target. The seed decides which answers are
// cut.
func New(target string, seed uint64) (*Proxy, error) {
	free, err := freeport.Take(1)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		addr:    free[0],
		target:  target,
		rng:     rand.New(rand.NewPCG(seed, seed)),
		stats:   Stats{CutsByKey: map[int16]int64{}},
		links:   map[*link]struct{}{},
		flowing: make(chan struct{}),
	}
	close(p.flowing)
	return p, p.Refuse(false)
}

// Addr is the proxy's address, which stays the same for its whole life.
func (p *Proxy) Addr() string { return p.addr }

// SetTarget changes the broker for new connections.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Set replaces the faults.
func (p *Proxy) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// Stats returns the counts so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.CutsByKey = map[int16]int64{}
	for k, n := range p.stats.CutsByKey {
		s.CutsByKey[k] = n
	}
	return s
}

// Pause stops the flow of bytes; connections stay open and new ones are accepted.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
		p.flowing = make(chan struct{})
	default:
	}
}

// Resume lets bytes flow again. None was lost.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
}

// Refuse true closes the listening socket, so that new connections are refused; false opens it again.
// Connections that are open go on.
func (p *Proxy) Refuse(on bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.listener != nil:
		err := p.listener.Close()
		p.listener = nil
		return err
	case !on && p.listener == nil && !p.closed:
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			return err
		}
		p.listener = l
		p.wg.Go(func() { p.accept(l) })
	}
	return nil
}

// CutAll closes all open connections with a reset.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close(true)
	}
}

// Close ends everything and waits. It is idempotent.
func (p *Proxy) Close() error {
	err := p.Refuse(true)
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.CutAll()
	p.wg.Wait()
	return err
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone again
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		reset(client) // as if the broker itself had refused
		return
	}
	l := newLink(p, client, server)
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		l.close(true)
		return
	}
	p.links[l] = struct{}{}
	p.stats.Connections++
	p.mu.Unlock()
	l.run()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *Proxy) requested(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Requested += bytes
	p.stats.Largest = max(p.stats.Largest, bytes)
}

// decide counts an answer and says whether it is cut, and if so whether by a reset.
func (p *Proxy) decide(key int16) (cut, rst bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Answers++
	if p.faults.Cut == 0 || !p.faults.hits(key) || p.rng.Float64() >= p.faults.Cut {
		return false, false
	}
	p.stats.Cuts++
	p.stats.CutsByKey[key]++
	return true, p.rng.IntN(2) == 0
}

func (f *Faults) hits(key int16) bool { return f.CutKeys == nil || slices.Contains(f.CutKeys, key) }

// now returns the faults and the channel that is closed while data flows.
func (p *Proxy) now() (Faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.flowing
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
