package load

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestReadResponse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       response
		err        error
	}{
		{"empty body", "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n", response{status: 200}, nil},
		{"body", "HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello", response{status: 200}, nil},
		{"retry", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nRetry-After: 3\r\nConnection: Close\r\n\r\nno",
			response{status: 503, retryAfter: 3 * time.Second, close: true}, nil},
		{"retry at once", "HTTP/1.1 503 X\r\nRETRY-AFTER: 0\r\nContent-Length: 0\r\n\r\n", response{status: 503, retryAfter: 1}, nil},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", response{status: 204}, nil},
		{"a big body", "HTTP/1.1 413 X\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000), response{status: 413}, nil},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", response{}, errResponse},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", response{}, errResponse},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Le", response{}, io.EOF},
		{"cut body", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhello", response{}, io.EOF},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5000), response{}, errResponse},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"at once":      strings.NewReader(c.text),
				"byte-by-byte": iotest.OneByteReader(strings.NewReader(c.text)),
			} {
				got, err := answerOf(r)
				if !errors.Is(err, c.err) {
					t.Fatalf("%s: %v, want %v", name, err, c.err)
				}
				got.total = 0
				if err == nil && got != c.want {
					t.Errorf("%s: %+v, want %+v", name, got, c.want)
				}
			}
		})
	}
}

// answerOf reads one answer as a connection does.
func answerOf(r io.Reader) (response, error) {
	c := &conn{in: make([]byte, responseBuffer)}
	for {
		n, err := r.Read(c.in[c.n:])
		if n > 0 {
			if err := c.parse(n); err != nil || c.answered {
				return c.answer, err
			}
		}
		if err != nil {
			return c.answer, err
		}
	}
}
