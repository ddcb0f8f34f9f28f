package inflate

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

var errNoMore = errors.New("no more")

// buffers doubles up to max.
type buffers struct {
	buf []byte
	max int
}

func (b *buffers) Grow(n int) ([]byte, error) {
	if 2*len(b.buf) > b.max {
		return b.buf, errNoMore
	}
	bigger := make([]byte, 2*len(b.buf))
	copy(bigger, b.buf[:n])
	b.buf = bigger
	return bigger, nil
}

type form struct {
	name     string
	encoding Encoding
	pack     func(data []byte) []byte
}

func written(data []byte, open func(*bytes.Buffer) interface {
	Write([]byte) (int, error)
	Close() error
}) []byte {
	var b bytes.Buffer
	w := open(&b)
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

type writeCloser = interface {
	Write([]byte) (int, error)
	Close() error
}

func forms() []form {
	return []form{
		{"gzip", Gzip, func(d []byte) []byte {
			return written(d, func(b *bytes.Buffer) writeCloser { return gzip.NewWriter(b) })
		}},
		{"gzip in two members", Gzip, func(d []byte) []byte {
			pack := func(d []byte) []byte {
				return written(d, func(b *bytes.Buffer) writeCloser { return gzip.NewWriter(b) })
			}
			return append(pack(d[:len(d)/2]), pack(d[len(d)/2:])...)
		}},
		{"zlib", Deflate, func(d []byte) []byte {
			return written(d, func(b *bytes.Buffer) writeCloser { return zlib.NewWriter(b) })
		}},
		{"raw deflate", Deflate, func(d []byte) []byte {
			return written(d, func(b *bytes.Buffer) writeCloser { w, _ := flate.NewWriter(b, 6); return w })
		}},
		{"zstd with its size", Zstd, func(d []byte) []byte { w, _ := zstd.NewWriter(nil); return w.EncodeAll(d, nil) }},
		{"zstd as a stream", Zstd, func(d []byte) []byte {
			return written(d, func(b *bytes.Buffer) writeCloser { w, _ := zstd.NewWriter(b); return w })
		}},
		{"snappy block", Snappy, func(d []byte) []byte { return s2.EncodeSnappy(nil, d) }},
		{"snappy framed", Snappy, func(d []byte) []byte {
			return written(d, func(b *bytes.Buffer) writeCloser { return s2.NewWriter(b, s2.WriterSnappyCompat()) })
		}},
	}
}

// Every form comes out as it went in, whatever the size of the buffers; cut anywhere or with a byte changed it never
// panics and never gives other bytes silently where the format has a checksum.
func TestRoundTripAndDamage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	f := New(4 << 20)
	for _, form := range forms() {
		for _, size := range []int{1, 2, 1023, 1024, 1025, 4096, 70_000, 300_000} {
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(rnd.IntN(20))
			}
			packed := form.pack(data)
			b := &buffers{buf: make([]byte, 1024), max: 1 << 20}
			n, err := f.Do(form.encoding, packed, b.buf, b)
			if err != nil || !bytes.Equal(b.buf[:n], data) {
				t.Fatalf("%s, %d bytes: %d, %v", form.name, size, n, err)
			}
			for range 20 {
				b := &buffers{buf: make([]byte, 1024), max: 1 << 20}
				cut := packed[:rnd.IntN(len(packed))]
				if n, err := f.Do(form.encoding, cut, b.buf, b); err == nil && n == size && size > 2 {
					t.Fatalf("%s, %d bytes: cut at %d of %d it is whole", form.name, size, len(cut), len(packed))
				}
				bad := bytes.Clone(packed)
				bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
				_, _ = f.Do(form.encoding, bad, b.buf, b)
			}
			if size > 1024 {
				b := &buffers{buf: make([]byte, 1024), max: 1024}
				if _, err := f.Do(form.encoding, packed, b.buf, b); err != errNoMore {
					t.Errorf("%s, %d bytes in 1,024: %v", form.name, size, err)
				}
			}
		}
	}
}

func TestTooLargeBeforeAnyBytes(t *testing.T) {
	f := New(4 << 20)
	b := &buffers{buf: make([]byte, 1024), max: 64 << 20}
	if _, err := f.Do(Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, b.buf, b); err != ErrTooLarge {
		t.Errorf("a snappy block of 4 GiB: %v", err)
	}
	// Magic, a header without a single segment or size, and a window of 2^30.
	if _, err := f.Do(Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0xa0, 1, 0, 0}, b.buf, b); err != ErrTooLarge {
		t.Errorf("a window of 1 GiB: %v", err)
	}
	if len(b.buf) != 1024 {
		t.Errorf("%d bytes were taken", len(b.buf))
	}
}

func TestParse(t *testing.T) {
	for name, want := range map[string]bool{"gzip": true, "GZip": true, "x-gzip": true, "deflate": true, "zstd": true, "snappy": true, "br": false, "": false, "compress": false, "gzip2": false} {
		if _, ok := Parse([]byte(name)); ok != want {
			t.Errorf("%q: %v", name, ok)
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, form := range forms() {
		f.Add(uint8(form.encoding), form.pack([]byte(`[{"a":1},{"b":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}]`)))
	}
	g := New(1 << 20)
	f.Fuzz(func(t *testing.T, e uint8, data []byte) {
		b := &buffers{buf: make([]byte, 64), max: 1 << 20}
		n, err := g.Do(Encoding(e%4), data, b.buf, b)
		if err == nil && n > len(b.buf) {
			t.Errorf("%d bytes in a buffer of %d", n, len(b.buf))
		}
	})
}

// Bytes behind a stream of deflate are not lost in silence.
func TestDeflateTakesAllOrNothing(t *testing.T) {
	f := New(1 << 20)
	for _, form := range forms() {
		if form.encoding != Deflate {
			continue
		}
		one := form.pack([]byte("[1]"))
		for name, body := range map[string][]byte{"another stream": append(bytes.Clone(one), form.pack([]byte("[2]"))...), "one byte": append(bytes.Clone(one), 'x')} {
			b := &buffers{buf: make([]byte, 64), max: 1 << 20}
			if n, err := f.Do(Deflate, body, b.buf, b); err != ErrCorrupt {
				t.Errorf("%s, %s: %d bytes, %v", form.name, name, n, err)
			}
		}
	}
}

// A body that was decompressed, or was damaged, is not kept alive: its buffer is counted as free.
func TestNoBodyIsKept(t *testing.T) {
	f := New(1 << 20)
	for _, form := range forms() {
		for _, damaged := range []bool{false, true} {
			body := form.pack(bytes.Repeat([]byte("[1]"), 10_000))
			if damaged {
				body[len(body)-1] ^= 1
				body = append(body, make([]byte, 64<<10)...)
			}
			src := make([]byte, 128<<10)
			n := copy(src, body)
			kept := weak.Make(&src[0])
			b := &buffers{buf: make([]byte, 64), max: 1 << 20}
			_, _ = f.Do(form.encoding, src[:n], b.buf, b)
			src = nil
			for range 3 {
				runtime.GC()
			}
			if kept.Value() != nil {
				t.Errorf("%s, damaged %v: the body is still there", form.name, damaged)
			}
		}
	}
}
