package recordbatch

import (
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// maxScratchBytes is the largest buffer a Scratch keeps between batches: four default full-size
// batches. What a single oversize event needed is let go.
const maxScratchBytes = 1 << 20

// zstdWindow holds a default full-size batch; 1 MiB gains nothing on those and costs the encoder
// 0.8 MiB more (measured: 0.9 instead of 1.7 MiB).
const zstdWindow = 256 << 10

// errNotSmaller ends a compression early: the result has reached the size of the input.
var errNotSmaller = errors.New("recordbatch: compression gains nothing")

// Scratch is the working memory of Compress, one per sender. The zero value is ready; buffers and
// encoders appear when they are first needed, so codecs that are not used cost nothing. It is not
// safe for concurrent use.
type Scratch struct {
	src []byte // records of one block, or of all blocks where the codec wants them contiguous
	dst []byte

	lz4  *lz4.Compressor
	zstd *zstd.Encoder
	gzip *gzip.Writer
	out  boundedWriter // gzip's destination
}

// Compress seals the batch and compresses its records with c in Kafka's framing. The result replaces
// them in the batch's first chunks and the surplus chunks go back to the pool; a chunk is never needed
// for it, so a dry pool cannot stop it. Records that would not get smaller stay as they are (Codec
// None). A batch is compressed once: on a compressed or loaded one Compress does nothing. Compressing
// a stamped batch is a bug and panics.
func (b *Batch) Compress(c Codec, s *Scratch) error {
	if b.stamp.set {
		panic("recordbatch: compression of a stamped batch")
	}
	b.seal()
	if c == None || b.codec != None || b.loaded {
		return nil
	}
	defer s.trim()
	err := s.compress(c, b)
	raw := b.size - Overhead
	switch {
	case errors.Is(err, errNotSmaller):
		return nil
	case err != nil:
		return fmt.Errorf("recordbatch: %s compression of %d bytes: %w", c, raw, err)
	case len(s.dst) >= raw:
		return nil
	}
	b.rawBytes = raw
	w := cursor{chunks: b.chunks, off: Overhead}
	w.write(s.dst)
	b.codec = c
	b.stamp, b.sum = stamp{}, sum{}
	b.shrink(Overhead + len(s.dst))
	return nil
}

// compress leaves the compressed records of b in s.dst.
func (s *Scratch) compress(c Codec, b *Batch) error {
	switch c {
	case Snappy:
		return s.compressSnappy(b)
	case LZ4:
		return s.compressLZ4(b)
	case Zstd:
		return s.compressZstd(b)
	case Gzip:
		return s.compressGzip(b)
	}
	return errors.New("unknown codec")
}

// block leaves n record bytes from wire offset off in s.src.
func (s *Scratch) block(b *Batch, off, n int) []byte {
	s.src = b.appendRange(slices.Grow(s.src[:0], n), off, off+n)
	return s.src
}

// trim lets go of buffers that grew beyond the usual.
func (s *Scratch) trim() {
	if cap(s.src) > maxScratchBytes {
		s.src = nil
	}
	if cap(s.dst) > maxScratchBytes {
		s.dst = nil
	}
}

// compressZstd makes one frame. EncodeAll needs the input contiguous and is cheaper than streaming.
func (s *Scratch) compressZstd(b *Batch) error {
	if s.zstd == nil {
		e, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), // the batch has its own
			zstd.WithWindowSize(zstdWindow),
			zstd.WithLowerEncoderMem(true),
		)
		if err != nil {
			return err
		}
		s.zstd = e
	}
	raw := b.size - Overhead
	src := s.block(b, Overhead, raw)
	s.dst = s.zstd.EncodeAll(src, slices.Grow(s.dst[:0], s.zstd.MaxEncodedSize(raw)))
	return nil
}

// compressGzip streams the chunks through the writer.
func (s *Scratch) compressGzip(b *Batch) error {
	if s.gzip == nil {
		w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			return err
		}
		s.gzip = w
	}
	raw := b.size - Overhead
	s.out = boundedWriter{buf: slices.Grow(s.dst[:0], raw), limit: raw}
	defer func() { s.dst, s.out.buf = s.out.buf, nil }()
	s.gzip.Reset(&s.out)
	for i := range b.chunks {
		p := b.part(i)
		if i == 0 {
			p = p[Overhead:]
		}
		if _, err := s.gzip.Write(p); err != nil {
			return err
		}
	}
	return s.gzip.Close()
}

// boundedWriter appends to buf and fails when that would reach limit.
type boundedWriter struct {
	buf   []byte
	limit int
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	if len(w.buf)+len(p) >= w.limit {
		return 0, errNotSmaller
	}
	w.buf = append(w.buf, p...)
	return len(p), nil
}
