package listen

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"
)

// A header field costs fasthttp 56 bytes and two slices, so 800 fields in 4 KiB cost 75 KB. They are counted here,
// by the ends of lines, before fasthttp sees them.

// maxFields is how many header fields a request may have. Clients send 5 to 15, behind proxies up to 30.
const maxFields = 50

// errFields is the read error of a connection whose request has more.
var errFields = errors.New("listen: too many header fields")

// unparsable makes fasthttp answer a request of which it must see nothing, with our error.
const unparsable = "-\r\n\r\n"

// head follows the header of a request through the reads of its connection, and counts what comes behind it.
type head struct {
	lines  int    // that have ended
	begun  bool   // the present line has a byte
	cr     bool   // which is a single CR
	ended  bool   // the empty line was there
	tooBig bool   // it began behind the request before, and has more than maxFields
	behind int    // bytes behind it
	body   int    // the announced length of the body, or chunked; 0: none
	last   []byte // what the last read brought into fasthttp's buffer, which owns it
}

// chunkedEnd is the end of a chunked body, if it has no trailer.
const chunkedEnd = "0\r\n\r\n"

// next is called between two requests. What came with the one before and belongs to the next is looked at now,
// because fasthttp will not read it again.
func (h *head) next() {
	last, rest := h.last, min(len(h.last), h.behind-h.body)
	if h.body == chunked {
		// The first end that is found is at or before the true one, so it is rather a line too many that is counted.
		if _, after, ok := bytes.Cut(last, []byte(chunkedEnd)); ok {
			rest = len(after)
		} else {
			rest = min(len(last), h.behind)
		}
	}
	*h = head{}
	if rest > 0 {
		h.tooBig = !h.follow(last[len(last)-rest:])
	}
	h.last = last
}

// pipelined reports whether something came behind the request that is being answered.
func (h *head) pipelined() bool { return h.behind > h.body }

// arrived follows a read into fasthttp's buffer, or past it, and reports whether the header may go on.
func (h *head) arrived(p []byte, buffered bool) bool {
	if h.last = nil; buffered {
		h.last = p
	}
	return !h.tooBig && h.follow(p)
}

func (h *head) follow(p []byte) bool {
	if h.ended {
		h.behind += len(p)
		return true
	}
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		line := p
		if n >= 0 {
			line = p[:n]
		}
		if len(line) > 0 {
			h.cr = !h.begun && len(line) == 1 && line[0] == '\r'
			h.begun = true
		}
		if n < 0 {
			return true
		}
		p = p[n+1:]
		empty := !h.begun || h.cr
		h.begun, h.cr = false, false
		switch {
		case !empty:
			if h.lines++; h.lines > maxFields+1 { // one is the request's line
				return false
			}
		case h.lines > 0: // empty lines before a request are skipped
			h.ended, h.behind = true, len(p)
			return true
		}
	}
	return true
}

// tooManyFields reports whether a request that was parsed has more than maxFields.
func tooManyFields(r *fasthttp.RequestHeader) bool {
	n := 0
	for range r.All() {
		n++
	}
	return n > maxFields
}
