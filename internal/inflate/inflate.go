// Package inflate decompresses request bodies within given memory: gzip, deflate (with and without the header of
// zlib), zstd and snappy (one block, and framed). It is the other side of pkg/sink/kafka/recordbatch, which
// compresses batches with the same library: a public package cannot import this one, nor has it use for it.
package inflate

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// Encoding is a content coding of HTTP.
type Encoding uint8

// The codings. Deflate is zlib's format or, as some clients send it, the bare one.
const (
	Gzip Encoding = iota
	Deflate
	Zstd
	Snappy
)

// Accepted is the value of Accept-Encoding that names them all.
const Accepted = "gzip, deflate, zstd, snappy, identity"

// Parse returns the encoding of a name; ok is false for one that is none of these. Names are not case-sensitive.
func Parse(name []byte) (e Encoding, ok bool) {
	switch string(bytes.ToLower(name)) {
	case "gzip", "x-gzip":
		return Gzip, true
	case "deflate":
		return Deflate, true
	case "zstd":
		return Zstd, true
	case "snappy", "x-snappy-framed":
		return Snappy, true
	}
	return 0, false
}

// ErrCorrupt is returned for bytes that are not what their encoding says, or not all of it.
var ErrCorrupt = errors.New("inflate: corrupt")

// ErrTooLarge is returned where a window or a block is larger than max.
var ErrTooLarge = errors.New("inflate: too large")

// Grower gives buffers. Grow returns one that is larger than the one before and begins with its n bytes; the old one
// must not be used any more. Its error ends the work and is returned.
type Grower interface {
	Grow(n int) ([]byte, error)
}

// states bounds how many bodies are decompressed at the same time: the state of gzip and deflate has about 45 KB, of
// framed snappy 140 KB, of zstd up to 1 MB.
const states = 2

// maxWindow is the window that every decoder has to take, and encoders must not exceed in HTTP (RFC 9659).
const maxWindow = 8 << 20

// Inflater decompresses. Use [New]. It is safe for concurrent use; more than two callers wait for each other.
type Inflater struct {
	places chan struct{}
	max    int64

	mu    sync.Mutex
	zstd  *zstd.Decoder // made for the first body that needs it
	gzips []*gzipReader
}

// New returns an Inflater for bodies of which none becomes larger than max bytes.
func New(max int64) *Inflater { return &Inflater{places: make(chan struct{}, states), max: max} }

// Do decompresses src into buf and the buffers that g gives, and returns how many bytes it has become. They are in
// the last of these buffers.
func (f *Inflater) Do(e Encoding, src, buf []byte, g Grower) (int, error) {
	f.places <- struct{}{}
	defer func() { <-f.places }()
	switch e {
	case Gzip:
		r := f.takeGzip()
		defer f.putGzip(r)
		r.src.Reset(src)
		if r.Reset(&r.src) != nil {
			return 0, ErrCorrupt
		}
		return drain(r, buf, g)
	case Deflate:
		return deflated(src, buf, g)
	case Zstd:
		return f.zstdAll(src, buf, g)
	default:
		return f.snappy(src, buf, g)
	}
}

// gzipReader is a gzip.Reader that is used again. It keeps what it was reset to, so that is a field of its own, which
// lets go of the body.
type gzipReader struct {
	gzip.Reader
	src bytes.Reader
}

func (f *Inflater) takeGzip() *gzipReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.gzips)
	if n == 0 {
		return new(gzipReader)
	}
	r := f.gzips[n-1]
	f.gzips = f.gzips[:n-1]
	return r
}

func (f *Inflater) putGzip(r *gzipReader) {
	r.src.Reset(nil)
	f.mu.Lock()
	f.gzips = append(f.gzips, r)
	f.mu.Unlock()
}

// deflated decompresses zlib's format or the bare one. Bytes behind the stream would be lost in silence, so a body that
// has some is corrupt.
func deflated(src, buf []byte, g Grower) (n int, err error) {
	var rest bytes.Reader
	rest.Reset(src)
	var r io.Reader
	if len(src) > 1 && src[0]&0x0f == 8 && (int(src[0])<<8|int(src[1]))%31 == 0 {
		if z, err := zlib.NewReader(&rest); err == nil {
			r = z
		}
	}
	if r == nil {
		rest.Reset(src)
		r = flate.NewReader(&rest)
	}
	if n, err = drain(r, buf, g); err == nil && rest.Len() > 0 {
		return 0, ErrCorrupt
	}
	return n, err
}

// drain reads r to its end.
func drain(r io.Reader, buf []byte, g Grower) (n int, err error) {
	for {
		if n == len(buf) {
			var one [1]byte
			m, err := io.ReadFull(r, one[:])
			if m == 0 {
				return ended(n, err)
			}
			if buf, err = g.Grow(n); err != nil {
				return 0, err
			}
			buf[n] = one[0]
			n++
		}
		m, err := io.ReadFull(r, buf[n:])
		if n += m; err != nil {
			if err == io.ErrUnexpectedEOF && n < len(buf) {
				// Of ReadFull, or of the format: only another read tells.
				_, err = r.Read(buf[n:])
			}
			return ended(n, err)
		}
	}
}

func ended(n int, err error) (int, error) {
	if err == io.EOF {
		return n, nil
	}
	return 0, ErrCorrupt
}

// zstdAll decodes in one piece: then the buffer is the window, and the decoder has no memory for one of its own.
func (f *Inflater) zstdAll(src, buf []byte, g Grower) (int, error) {
	f.mu.Lock()
	if f.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(states), zstd.WithDecoderLowmem(true),
			zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			f.mu.Unlock()
			return 0, err
		}
		f.zstd = d
	}
	d := f.zstd
	f.mu.Unlock()
	for {
		out, err := d.DecodeAll(src, buf[:0:len(buf)])
		switch {
		case err == nil:
			return len(out), nil
		case errors.Is(err, zstd.ErrWindowSizeExceeded):
			return 0, ErrTooLarge
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return 0, ErrCorrupt
		}
		if buf, err = g.Grow(0); err != nil {
			return 0, err
		}
	}
}

// framed is how a stream of framed snappy begins.
const framed = "\xff\x06\x00\x00sNaPpY"

func (f *Inflater) snappy(src, buf []byte, g Grower) (int, error) {
	if bytes.HasPrefix(src, []byte(framed)) {
		return drain(s2.NewReader(bytes.NewReader(src), s2.ReaderMaxBlockSize(64<<10)), buf, g)
	}
	n, err := s2.DecodedLen(src)
	switch {
	case err != nil:
		return 0, ErrCorrupt
	case int64(n) > f.max:
		return 0, ErrTooLarge
	}
	for n > len(buf) {
		if buf, err = g.Grow(0); err != nil {
			return 0, err
		}
	}
	if out, err := s2.Decode(buf[:n], src); err != nil || len(out) != n {
		return 0, ErrCorrupt
	}
	return n, nil
}
