package admin

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// net/http sleeps for half a second, with the connection and its buffers, behind the answer to a header or a body that
// is too long. So it sees neither: front ends a header before net/http's own bound is reached, and whole takes the
// bodies out of its sight.
const (
	// maxHeader is how long a header may be at least. net/http reads in pieces of 4 KiB, so up to that more may be there
	// when it ends.
	maxHeader = 4 << 10
	readPiece = 4 << 10
	// maxBody is the longest body that is read: the word of PUT /loglevel.
	maxBody = 64
	// bodyTime is how long it may take. A newcomer does not wait for it.
	bodyTime = 500 * time.Millisecond
	// unreadTime is how long a client may leave an answer unread while newcomers find no place.
	unreadTime = time.Second
)

const tooLarge = "HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Connection: close\r\nContent-Length: 36\r\n\r\n431 Request Header Fields Too Large\n"

// errHeader is an error behind which net/http closes the connection without an answer of its own.
var errHeader = &net.OpError{Op: "read", Err: errors.New("the header is too large")}

// front is what net/http serves: a conn, or TLS above it.
type front struct {
	net.Conn
	raw  *conn
	left atomic.Int64 // bytes that may come until the header is whole
}

// base is the conn below what net/http serves.
func base(c net.Conn) *conn {
	return c.(*front).raw //nolint:forcetypeassert // Accept makes no others
}

// await is called before each header.
func (f *front) await() { f.left.Store(maxHeader + readPiece) }

// arrived is called behind a header.
func (f *front) arrived() { f.left.Store(math.MaxInt64) }

// Read implements net.Conn.
func (f *front) Read(p []byte) (int, error) {
	if f.left.Load() < 0 { // net/http may ask again
		return 0, errHeader
	}
	n, err := f.Conn.Read(p)
	if f.left.Add(-int64(n)) < 0 {
		_ = f.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, _ = io.WriteString(f.Conn, tooLarge)
		return 0, errHeader
	}
	return n, err
}

// whole reads the body of a PUT, and no other one, and gives the request what was read. An error says that it did not
// come. The rest of a body, and other bodies, are read by net/http as far as they came with the header.
func (c *conns) whole(w http.ResponseWriter, r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	var text []byte
	var err error
	deadline := http.NewResponseController(w).SetReadDeadline // net/http sets another for the next request
	put := r.Method == http.MethodPut
	if put {
		_ = deadline(time.Now().Add(c.bodyTime))
		text, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	}
	if !put || len(text) > maxBody {
		_ = deadline(time.Now())
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return err
}
