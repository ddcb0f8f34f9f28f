package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// response is what the generator needs to know of an answer.
type response struct {
	status     int
	retryAfter time.Duration // 0: no such header
	close      bool          // the server will close the connection
	total      int           // bytes of head and body
}

var (
	errResponse = errors.New("not an HTTP/1.1 response with Content-Length")
	errLongHead = fmt.Errorf("%w: an endless head", errResponse)
	headEnd     = []byte("\r\n\r\n")
)

// parseHead reads a response's head. ok is false while its end has not arrived. Only the headers that
// matter are looked at; a body needs a Content-Length.
func parseHead(b []byte) (r response, ok bool, err error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return r, false, nil
	}
	head := b[:end+2] // with the last line's end
	if len(head) < len("HTTP/1.1 200\r\n") || string(head[:7]) != "HTTP/1." {
		return r, false, fmt.Errorf("%w: %.40q", errResponse, head)
	}
	if r.status, err = strconv.Atoi(string(head[9:12])); err != nil {
		return r, false, fmt.Errorf("%w: %.40q", errResponse, head)
	}
	length := -1
	if r.status == 204 || r.status == 304 {
		length = 0
	}
	for {
		_, rest, found := bytes.Cut(head, headEnd[:2])
		if !found || len(rest) == 0 {
			break
		}
		head = rest
		switch head[0] | 0x20 { // most lines are skipped by their first letter
		case 'c':
			if v, ok := header(head, "content-length"); ok {
				if length, err = strconv.Atoi(string(v)); err != nil {
					return r, false, fmt.Errorf("%w: Content-Length %q", errResponse, v)
				}
			} else if v, ok := header(head, "connection"); ok && bytes.EqualFold(v, []byte("close")) {
				r.close = true
			}
		case 'r':
			if v, ok := header(head, "retry-after"); ok {
				seconds, err := strconv.Atoi(string(v))
				if err != nil {
					return r, false, fmt.Errorf("%w: Retry-After %q", errResponse, v)
				}
				r.retryAfter = max(time.Duration(seconds)*time.Second, time.Nanosecond)
			}
		}
	}
	if length < 0 {
		return r, false, fmt.Errorf("%w: %.200q", errResponse, b[:end])
	}
	r.total = end + len(headEnd) + length
	return r, true, nil
}

// header returns the value of the line that lines begins with, if its name, in lower case, is name.
func header(lines []byte, name string) ([]byte, bool) {
	line, _, _ := bytes.Cut(lines, headEnd[:1])
	if len(line) <= len(name) || line[len(name)] != ':' || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name)+1:]), true
}

// requestHead returns where the head of a request ends, 0 while it is not complete, and the length of its
// body. ok is false when that cannot be told.
func requestHead(b []byte) (end, length int, ok bool) {
	at := bytes.Index(b, headEnd)
	if at < 0 {
		return 0, 0, true
	}
	for head := b[:at+2]; ; {
		_, rest, found := bytes.Cut(head, headEnd[:2])
		if !found || len(rest) == 0 {
			return 0, 0, false
		}
		head = rest
		if head[0]|0x20 != 'c' {
			continue
		}
		if v, found := header(head, "content-length"); found {
			n, err := strconv.Atoi(string(v))
			return at + len(headEnd), n, err == nil && n >= 0
		}
	}
}
