package main

import (
	"net"
	"sync"
)

// freezer is a switch between the broker and everybody else: while it is frozen nothing that is sent is read, and no
// answer leaves. Connections stay open, as with a machine that hangs.
type freezer struct {
	mu   sync.Mutex
	thaw chan struct{} // closed while nothing is frozen
	ever bool          // it was frozen
}

func newFreezer() *freezer {
	f := &freezer{thaw: make(chan struct{})}
	close(f.thaw)
	return f
}

// freeze stops everything until the function it returns is called, which is idempotent.
func (f *freezer) freeze() (thaw func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.thaw, f.ever = c, true
	return sync.OnceFunc(func() { close(c) })
}

// frozen reports whether everything stands still.
func (f *freezer) frozen() bool {
	select {
	case <-f.now():
		return false
	default:
		return true
	}
}

// wasFrozen reports whether it ever was.
func (f *freezer) wasFrozen() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ever
}

func (f *freezer) now() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.thaw
}

// listen is the broker's net.Listen.
func (f *freezer) listen(network, address string) (net.Listener, error) {
	ln, err := net.Listen(network, address)
	return &coldListener{ln, f}, err
}

type coldListener struct {
	net.Listener
	f *freezer
}

// Accept implements net.Listener.
func (l *coldListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &coldConn{c, l.f}, nil
}

type coldConn struct {
	net.Conn
	f *freezer
}

// Read implements net.Conn: what came during a freeze is read after it.
func (c *coldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	<-c.f.now()
	return n, err
}

// Write implements net.Conn.
func (c *coldConn) Write(p []byte) (int, error) {
	<-c.f.now()
	return c.Conn.Write(p)
}
