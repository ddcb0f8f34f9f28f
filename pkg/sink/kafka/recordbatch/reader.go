package recordbatch

import (
	"errors"
	"io"
	"sync"
)

// ErrAbandoned is what a [Reader] returns after Abandon.
var ErrAbandoned = errors.New("recordbatch: the batch was taken back from its reader")

// Reader lends the wire bytes of one batch to kafka-go's protocol.RawRecordSet. The zero Reader is
// abandoned.
//
// It exists because a kafka-go call that ends early (its context is done) returns while the goroutine
// of the connection may still read the record set. Without the guard the chunks, already given to
// another batch, would be sent under the old batch's name. The caller uses a Reader again (Reset) only
// when the request it was given to has certainly ended: when it was answered, not when it timed out.
type Reader struct {
	mu  sync.Mutex
	b   *Batch // nil: abandoned
	off int
}

// Reset points the reader at the first byte of b. A batch that was never stamped is sealed without a
// producer, as in [Batch.WriteTo]. The batch must not change until the request has ended or Abandon
// has returned.
func (r *Reader) Reset(b *Batch) {
	b.ensureHeader() // here, in the owner's goroutine, not when kafka-go reads
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b, r.off = b, 0
}

// Abandon takes the batch back: when it returns, no goroutine reads a byte of it, now or later. It
// waits at most for one copy into memory.
func (r *Reader) Abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b = nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b == nil {
		return 0, ErrAbandoned
	}
	if r.off == r.b.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && r.off < r.b.size {
		k := copy(p[n:], r.b.part(r.off / ChunkSize)[r.off%ChunkSize:])
		n += k
		r.off += k
	}
	return n, nil
}

// WriteTo implements io.WriterTo. It holds the guard while w copies: w must not block, and kafka-go's
// page buffers do not.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b == nil {
		return 0, ErrAbandoned
	}
	n, err := r.b.writeFrom(w, r.off)
	r.off += int(n)
	return n, err
}
