package cutproxy

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 64 << 10
	// queued bounds what is on its way in one direction, 4 MiB: a narrow link pushes back as a real
	// one does.
	queued = 64
)

// link is one connection of a client and its counterpart to the broker.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	once sync.Once
	done chan struct{} // closed by close

	mu   sync.Mutex
	keys []int16 // API keys of the requests that wait for an answer, oldest first
}

func newLink(p *Proxy, client, server net.Conn) *link {
	return &link{proxy: p, client: client, server: server, done: make(chan struct{})}
}

// close ends both connections.
func (l *link) close(rst bool) {
	l.once.Do(func() {
		close(l.done)
		if rst {
			reset(l.client)
		} else {
			_ = l.client.Close()
		}
		_ = l.server.Close()
	})
}

// run carries bytes both ways until either side ends.
func (l *link) run() {
	var wg sync.WaitGroup
	for _, way := range []struct {
		from, to net.Conn
		header   int // bytes of a frame that are needed to look at it, length included
		look     func(header []byte) bool
	}{
		{l.client, l.server, 4 + 2, l.request},
		{l.server, l.client, 4, l.answer},
	} {
		chunks := make(chan chunk, queued)
		wg.Go(func() {
			defer close(chunks)
			l.read(way.from, way.header, way.look, chunks)
		})
		wg.Go(func() {
			l.write(way.to, chunks)
			l.close(false)
		})
	}
	wg.Wait()
}

// chunk is a piece of the stream and when it may go on.
type chunk struct {
	data []byte
	due  time.Time
}

// read cuts the stream into frames, shows each frame's header to look, and passes the bytes on until
// look says no.
func (l *link) read(from io.Reader, header int, look func([]byte) bool, chunks chan<- chunk) {
	for {
		head := make([]byte, header)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		left := int64(binary.BigEndian.Uint32(head)) - int64(header-4)
		if !look(head) || left < 0 || !l.pass(head, chunks) {
			return
		}
		for left > 0 {
			data := make([]byte, min(left, chunkSize))
			n, err := from.Read(data)
			if n > 0 && !l.pass(data[:n], chunks) {
				return
			}
			if err != nil {
				return
			}
			left -= int64(n)
		}
	}
}

func (l *link) pass(data []byte, chunks chan<- chunk) bool {
	faults, _ := l.proxy.now()
	select {
	case chunks <- chunk{data, time.Now().Add(faults.Latency)}:
		return true
	case <-l.done:
		return false
	}
}

// write sends chunks when they are due, at the speed and in the pauses that the proxy asks for.
func (l *link) write(to io.Writer, chunks <-chan chunk) {
	for {
		var c chunk
		var ok bool
		select {
		case c, ok = <-chunks:
		case <-l.done:
		}
		if !ok || !l.wait(time.Until(c.due)) {
			return
		}
		faults, flowing := l.proxy.now()
		if faults.BytesPerSecond > 0 {
			d := time.Duration(int64(len(c.data)) * int64(time.Second) / faults.BytesPerSecond)
			if !l.wait(d) {
				return
			}
		}
		select {
		case <-flowing:
		case <-l.done:
			return
		}
		if _, err := to.Write(c.data); err != nil {
			return
		}
	}
}

// wait returns false when the link ended before d was over.
func (l *link) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}

// request remembers the API key and counts the bytes; it is called before the broker can see the request.
func (l *link) request(head []byte) bool {
	l.proxy.requested(int64(binary.BigEndian.Uint32(head)) + 4)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, int16(binary.BigEndian.Uint16(head[4:])))
	return true
}

// answer decides whether the answer to the oldest open request goes through. A broker answers the
// requests of one connection in their order.
func (l *link) answer([]byte) bool {
	l.mu.Lock()
	key := int16(-1)
	if len(l.keys) > 0 {
		key = l.keys[0]
		l.keys = l.keys[1:]
	}
	l.mu.Unlock()
	cut, rst := l.proxy.decide(key)
	if cut {
		l.close(rst)
	}
	return !cut
}
