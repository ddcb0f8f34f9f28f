package cutproxy

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
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
	open []call // requests that wait for an answer, oldest first
}

// call is a request's API key and version.
type call struct{ key, version int16 }

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
		look     func(header []byte) (edit func(rest []byte), ok bool)
	}{
		{l.client, l.server, 4 + 2 + 2, l.request},
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
// look says no. What look wants to edit is read whole first.
func (l *link) read(from io.Reader, header int, look func([]byte) (func([]byte), bool), chunks chan<- chunk) {
	for {
		head := make([]byte, header)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		left := int64(binary.BigEndian.Uint32(head)) - int64(header-4)
		edit, ok := look(head)
		if !ok || left < 0 || !l.pass(head, chunks) {
			return
		}
		if edit != nil && left <= chunkSize {
			data := make([]byte, left)
			if _, err := io.ReadFull(from, data); err != nil {
				return
			}
			edit(data)
			if !l.pass(data, chunks) {
				return
			}
			left = 0
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

// request remembers what is asked for and counts the bytes; it is called before the broker can see the request.
func (l *link) request(head []byte) (edit func([]byte), ok bool) {
	l.proxy.requested(int64(binary.BigEndian.Uint32(head)) + 4)
	c := call{int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:]))}
	if faults, _ := l.proxy.now(); slices.Contains(faults.Hidden, c.key) {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, c)
	return nil, true
}

// answer decides whether the answer to the oldest open request goes through, and what is changed in it. A broker answers
// the requests of one connection in their order.
func (l *link) answer([]byte) (edit func([]byte), ok bool) {
	l.mu.Lock()
	c := call{key: -1}
	if len(l.open) > 0 {
		c = l.open[0]
		l.open = l.open[1:]
	}
	l.mu.Unlock()
	cut, rst := l.proxy.decide(c.key)
	if cut {
		l.close(rst)
	}
	if faults, _ := l.proxy.now(); c.key == keyAPIVersions && len(faults.Hidden) > 0 {
		edit = func(rest []byte) { hide(rest, c.version, faults.Hidden) }
	}
	return edit, !cut
}

const (
	keyAPIVersions = 18
	// nobodysKey takes the place of a hidden key: no client asks for it.
	nobodysKey = 30_000
)

// hide changes an answer to ApiVersions: correlation id, error code, then for each API its key and its lowest and highest
// version; from version 3 on the list's length is a varint (of one or two bytes), and each entry ends with tagged fields.
func hide(rest []byte, version int16, hidden []int16) {
	at, step := 4+2+4, 6
	if version >= 3 {
		_, n := binary.Uvarint(rest[min(6, len(rest)):])
		at, step = 6+max(n, 1), 7
	}
	for ; at+step <= len(rest); at += step {
		if slices.Contains(hidden, int16(binary.BigEndian.Uint16(rest[at:]))) {
			binary.BigEndian.PutUint16(rest[at:], nobodysKey)
		}
	}
}
