package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

const (
	// MaxRecordsBytes bounds what Records decompresses from a loaded batch. It is as much as a batch of ours can hold: one
	// event may be as large as the largest body, and a few KiB on disk.
	MaxRecordsBytes = maxBatchBytes

	// maxSnappyRatio is the most a snappy element can expand: 64 bytes copied by 3 bytes, rounded up.
	// A block that claims more is corrupt, and it is found out before memory is allocated for it.
	maxSnappyRatio = 22

	// maxZstdWindow is what RFC 8878 asks of every decoder; our windows are at most zstdWindow.
	maxZstdWindow = 8 << 20
)

var (
	errTooLarge = errors.New("records decompress to more than the limit")
	errFraming  = errors.New("broken snappy framing")
)

// decompress returns the records in src, at most limit bytes of them. It allocates no more than a
// small multiple of what it returns, of limit, or of maxZstdWindow, whatever src claims.
func decompress(c Codec, src []byte, limit int) ([]byte, error) {
	switch c {
	case None:
		return src, nil
	case Snappy:
		if len(src) >= len(xerialHeader) && bytes.Equal(src[:8], xerialHeader[:8]) {
			return unxerial(src[len(xerialHeader):], limit)
		}
		return appendSnappy(nil, src, limit) // a raw block, as librdkafka writes it
	case LZ4:
		return readLimited(lz4.NewReader(bytes.NewReader(src)), limit)
	case Gzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		return readLimited(r, limit)
	case Zstd:
		r, err := zstd.NewReader(bytes.NewReader(src),
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxZstdWindow),
		)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return readLimited(r, limit)
	}
	return nil, fmt.Errorf("unknown codec %d", int8(c))
}

func readLimited(r io.Reader, limit int) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(out) > limit {
		return nil, errTooLarge
	}
	return out, nil
}

// unxerial decodes blocks of an int32 size and so many bytes of raw snappy.
func unxerial(src []byte, limit int) ([]byte, error) {
	var out []byte
	for len(src) > 0 {
		if len(src) < 4 {
			return nil, errFraming
		}
		n := int64(binary.BigEndian.Uint32(src))
		src = src[4:]
		if n > int64(len(src)) {
			return nil, errFraming
		}
		var err error
		if out, err = appendSnappy(out, src[:n], limit-len(out)); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return out, nil
}

// appendSnappy appends one decoded block of at most limit bytes to dst.
func appendSnappy(dst, block []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return nil, err
	case n > limit:
		return nil, errTooLarge
	case n > maxSnappyRatio*len(block):
		return nil, errFraming
	}
	dst = slices.Grow(dst, n)
	dec, err := s2.Decode(dst[len(dst):len(dst)+n:len(dst)+n], block) // in place: the room is exact
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)+len(dec)], nil
}
