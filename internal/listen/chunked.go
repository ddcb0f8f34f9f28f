package listen

// chunkedBody follows the framing of a chunked body, RFC 9112 section 7.1, so that its end is known and the fields of its
// trailer are counted. What fasthttp takes and this does not is refused with 400, so they see the same requests.
type chunkedBody struct {
	part    chunkPart
	size    int64 // of the chunk, then what is left of it
	digits  int
	trailer headLines
}

type chunkPart uint8

const (
	chunkSize chunkPart = iota
	chunkExtension
	chunkLF
	chunkData
	chunkDataCR
	chunkDataLF
	inTrailer
)

// maxChunkDigits keeps a size within 60 bits.
const maxChunkDigits = 15

// follow returns what is behind the body, if its end is there.
func (c *chunkedBody) follow(p []byte) (rest []byte, ended bool, err error) {
	for len(p) > 0 {
		switch c.part {
		case chunkData:
			n := min(c.size, int64(len(p)))
			if p, c.size = p[n:], c.size-n; c.size == 0 {
				c.part = chunkDataCR
			}
		case inTrailer:
			return c.trailer.follow(p, false)
		default:
			if !c.byte(p[0]) {
				return nil, false, errFraming
			}
			p = p[1:]
		}
	}
	return nil, false, nil
}

// byte follows a byte around the chunks, and reports whether it may stand there.
func (c *chunkedBody) byte(b byte) bool {
	switch c.part {
	case chunkSize:
		if digit, ok := hexDigit(b); ok {
			c.size = c.size<<4 | digit
			c.digits++
			return c.digits <= maxChunkDigits
		}
		if c.part = chunkExtension; b == '\r' {
			c.part = chunkLF
		}
		return c.digits > 0 && (b == '\r' || b == ';' || b == ' ' || b == '\t')
	case chunkExtension: // fasthttp looks at it
		if b == '\r' {
			c.part = chunkLF
		}
		return b != '\n'
	case chunkLF:
		if c.part = chunkData; c.size == 0 {
			c.part = inTrailer
		}
		return b == '\n'
	case chunkDataCR:
		c.part = chunkDataLF
		return b == '\r'
	default: // chunkDataLF
		*c = chunkedBody{}
		return b == '\n'
	}
}

func hexDigit(b byte) (int64, bool) {
	switch {
	case '0' <= b && b <= '9':
		return int64(b - '0'), true
	case 'a' <= b|0x20 && b|0x20 <= 'f':
		return int64(b|0x20-'a') + 10, true
	}
	return 0, false
}
