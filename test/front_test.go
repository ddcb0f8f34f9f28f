package test

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"functiongraph-ingest/internal/tlsconf/tlstest"
)

// front is an address of which the other side changes while it stays: a broker that moves behind a name, one whose
// certificate is renewed. With a certificate it speaks TLS.
type front struct {
	ln     net.Listener
	target atomic.Pointer[string]
	cert   atomic.Pointer[tls.Certificate] // nil: bytes pass as they are
	tasks  sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
}

// newFront listens at address; "" is a free one.
func newFront(t *testing.T, address, target string) *front {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	must(t, err)
	f := &front{ln: ln, conns: map[net.Conn]bool{}}
	f.leadTo(target)
	f.tasks.Go(f.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		f.hangUp()
		f.tasks.Wait()
	})
	return f
}

func (f *front) address() string { return f.ln.Addr().String() }

// leadTo changes the other side for new connections and ends the others.
func (f *front) leadTo(target string) {
	f.target.Store(&target)
	f.hangUp()
}

// show changes the certificate for new connections and ends the others.
func (f *front) show(t *testing.T, p *tlstest.Pair) {
	t.Helper()
	cert, err := tls.X509KeyPair(p.CertPEM(), p.KeyPEM())
	must(t, err)
	f.cert.Store(&cert)
	f.hangUp()
}

func (f *front) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		_ = c.Close()
	}
}

func (f *front) accept() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.tasks.Go(func() { f.serve(c) })
	}
}

func (f *front) serve(in net.Conn) {
	if cert := f.cert.Load(); cert != nil {
		in = tls.Server(in, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
	out, err := net.Dial("tcp", *f.target.Load())
	if err != nil {
		_ = in.Close()
		return
	}
	f.mu.Lock()
	f.conns[in], f.conns[out] = true, true
	f.mu.Unlock()
	var both sync.WaitGroup
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_, _ = to.Close(), from.Close()
	}
	both.Go(func() { pump(in, out) })
	both.Go(func() { pump(out, in) })
	both.Wait()
	f.mu.Lock()
	delete(f.conns, in)
	delete(f.conns, out)
	f.mu.Unlock()
}
