package listen

import (
	"bytes"
	"errors"

	"github.com/valyala/fasthttp"
)

// A header field costs fasthttp 56 bytes and two slices, so 800 fields in 4 KiB cost 75 KB. They are counted here,
// by the ends of lines, before fasthttp sees them, and those of a trailer too.

// maxFields is how many fields a header may have, and a trailer. Clients send 5 to 15, behind proxies up to 30.
const maxFields = 50

// errFields is the read error of a connection whose request has more; errFraming that of one whose header has no
// certain end, or whose chunks are none.
var (
	errFields  = errors.New("listen: too many header fields")
	errFraming = errors.New("listen: no valid framing")
)

// unparsable makes fasthttp answer a request of which it must see nothing, with our error.
const unparsable = "-\r\n\r\n"

// uncertain reports whether a request has a transfer coding, and the last one is not chunked: RFC 9112 section 6.3
// says that its length cannot be known. fasthttp refuses all such requests except those with identity, which earlier
// versions of HTTP had. It takes their Content-Length instead, and closes the connection afterwards; without one their
// length is 0 or unknown to it. So only such requests are looked at.
func uncertain(h *fasthttp.RequestHeader) bool {
	if n := h.ContentLength(); n == chunked || n > 0 && !h.ConnectionClose() {
		return false
	}
	name := []byte(fasthttp.HeaderTransferEncoding)
	if len(h.PeekCanonical(name)) > 0 { // fasthttp keeps chunked only
		return false
	}
	for line := range bytes.Lines(h.RawHeaders()) {
		n := len(name)
		if len(line) > n && line[n] == ':' && bytes.EqualFold(line[:n], name) {
			return true
		}
	}
	return false
}

// part is where a request is.
type part uint8

const (
	inHeader part = iota
	unframed      // behind the header: how long the body is has to be told by frame
	inLength      // a body of known length
	inChunks      // see chunked.go
	over          // what follows is the next request
)

// head follows a request through the reads of its connection: it bounds the fields, and knows the end.
type head struct {
	part   part
	lines  headLines
	size   int         // bytes of the header
	behind int         // bytes that were behind the header when the body was to be read
	left   int64       // of a body of known length
	chunks chunkedBody // of a chunked one
	after  int         // bytes behind the request's end, the last of last
	last   []byte      // what the last read brought into fasthttp's buffer, which owns it
}

// next is called between two requests. What came with the one before and belongs to the next is looked at now,
// because fasthttp will not read it again. An error is the answer to the next: fasthttp finds nothing else in its
// buffer.
func (h *head) next() error {
	last, rest := h.last, h.last[max(0, len(h.last)-h.after):]
	*h = head{last: last}
	if len(rest) == 0 {
		return nil
	}
	err := h.follow(rest)
	if err != nil {
		copy(rest, unparsable)
	}
	return err
}

// pipelined reports whether something came behind the request that is being answered.
func (h *head) pipelined() bool { return h.after > 0 }

// inTrailer reports whether a trailer has begun and not ended.
func (h *head) inTrailer() bool { return h.part == inChunks && h.chunks.part == inTrailer }

// inMiddle reports whether a part of a header was read.
func (h *head) inMiddle() bool { return h.part == inHeader && h.size > 0 }

// plain reports whether the header has none of the fields that seldom is about.
func (h *head) plain() bool { return !h.lines.seldom }

// begun reports whether something but empty lines, or a single CR, came.
func (h *head) begun() bool {
	return h.part != inHeader || h.lines.n > 0 || h.lines.begun && !h.lines.only
}

// arrived follows a read into fasthttp's buffer, or past it. After an error fasthttp must not see what was read.
func (h *head) arrived(p []byte, buffered bool) error {
	if h.last = nil; buffered {
		h.last = p
	}
	if h.part == over { // fasthttp reads on where the request should have ended
		h.after = 0
		return errFraming
	}
	err := h.follow(p)
	if h.part > unframed && h.after == 0 {
		h.last = nil // nothing of it is looked at again, and it may be the body's own buffer
	}
	return err
}

// frame tells how long the body is, chunked, or 0: none. It is called once or twice before the body is read.
func (h *head) frame(n int) error {
	switch {
	case h.part == inHeader, h.part == unframed && h.behind > len(h.last):
		return errFraming // fasthttp sees another end
	case h.part != unframed:
		return nil // the second call
	case n == chunked:
		h.part = inChunks
	default:
		h.part, h.left = inLength, int64(max(n, 0))
	}
	return h.follow(h.last[len(h.last)-h.behind:])
}

func (h *head) follow(p []byte) (err error) {
	if h.part == inHeader {
		var ended bool
		n := len(p)
		p, ended, err = h.lines.follow(p, true)
		if h.size += n - len(p); ended {
			h.part = unframed
		}
	}
	switch h.part {
	case unframed:
		h.behind += len(p)
		return err
	case inLength:
		n := min(h.left, int64(len(p)))
		h.left -= n
		if p = p[n:]; h.left == 0 {
			h.part = over
		}
	case inChunks:
		var ended bool
		if p, ended, err = h.chunks.follow(p); ended {
			h.part = over
		}
	}
	if h.part == over {
		h.after = len(p)
	}
	return err
}

// headLines counts the lines of a header or a trailer, up to the empty one.
type headLines struct {
	n     int  // that have ended
	begun bool // the present line has a byte
	only  bool // which is a single CR
	cr    bool // its last byte is a CR
	lf    bool // the line before ended with LF alone
	// A line may be an Origin, a Sec-Fetch-Site or a Content-Encoding: by how it begins, or because it came in pieces.
	// To ask fasthttp for each of them costs 1 % of a small delivery.
	seldom bool
}

// mayBeSeldom reports whether a line of a byte or more may be one of the fields that seldom is about.
func mayBeSeldom(line []byte) bool {
	switch line[0] | 0x20 {
	case 'o', 's':
		return true
	case 'c':
		const e = len("Content-")
		return len(line) > e && line[e]|0x20 == 'e'
	}
	return false
}

// follow returns what is behind the empty line, if that is there. A header may have empty lines before the first.
// A line that begins with a blank goes on with the field before, or hides from the one who reads it otherwise: RFC 9112
// sections 2.2 and 5.2 let a server refuse it.
// The empty line and the one before have to end with CR LF: servers disagree about where other headers end, and
// fasthttp waits for more.
func (l *headLines) follow(p []byte, header bool) (rest []byte, ended bool, err error) {
	most := maxFields
	if header {
		most++ // the request's line
	}
	for len(p) > 0 {
		if (p[0] == ' ' || p[0] == '\t') && !l.begun && (l.n > 0 || !header) {
			return nil, false, errFraming
		}
		n := bytes.IndexByte(p, '\n')
		if n > 1 && p[n-1] == '\r' { // most lines
			l.seldom = l.seldom || mayBeSeldom(p[:n])
			l.begun, l.only, l.cr, l.lf = false, false, false, false
			if l.n++; l.n > most {
				return nil, false, errFields
			}
			p = p[n+1:]
			continue
		}
		line := p
		if n >= 0 {
			line = p[:n]
		}
		if len(line) > 0 {
			l.seldom = l.seldom || len(line) > 1 || line[0] != '\r'
			l.cr = line[len(line)-1] == '\r'
			l.only = !l.begun && len(line) == 1 && l.cr
			l.begun = true
		}
		if n < 0 {
			return nil, false, nil
		}
		p = p[n+1:]
		empty, lf := !l.begun || l.only, !l.cr
		certain := !lf && !l.lf
		l.begun, l.only, l.cr = false, false, false
		switch {
		case !empty:
			l.lf = lf
			if l.n++; l.n > most {
				return nil, false, errFields
			}
		case header && l.n == 0:
		case !certain:
			return nil, false, errFraming
		default:
			return p, true, nil
		}
	}
	return nil, false, nil
}
