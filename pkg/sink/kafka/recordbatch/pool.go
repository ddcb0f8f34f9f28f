package recordbatch

import "sync"

const (
	// ChunkSize is the unit of memory in bytes. 16 KiB holds about 60 events, so taking a chunk costs
	// nothing per event, and an open batch with one event wastes at most this.
	ChunkSize = 16 << 10

	// slabChunks is how many chunks are allocated together: 256 KiB, one default full-size batch.
	slabChunks = 16

	// minIdleBatches is how many idle Batch structs (some 200 bytes each) are kept in any case; open
	// batches without a chunk are not bounded by the number of chunks.
	minIdleBatches = 1024
)

type chunk [ChunkSize]byte

// Pool lends chunks and never more of them than its bound. It is safe for concurrent use.
//
// Memory is allocated a slab at a time when it is first needed and never given back; the chunk that
// was returned last is lent first, because it is most likely still in the CPU's cache.
type Pool struct {
	total    int  // bound, in chunks
	sumEarly bool // set before the first batch

	mu        sync.Mutex
	allocated int      // chunks that exist, <= total
	inUse     int      // chunks lent, <= allocated
	idle      []*chunk // LIFO; len = allocated - inUse
	batches   []*Batch // idle structs, without chunks
}

// NewPool returns a pool of at most maxBytes, rounded down to whole chunks but at least one.
func NewPool(maxBytes int64) *Pool {
	return &Pool{total: int(max(1, maxBytes/ChunkSize))}
}

// SumEarly makes batches take the CRC of a chunk when it is full: for a pool whose batches are not
// compressed. It must be called before the first NewBatch.
func (p *Pool) SumEarly() { p.sumEarly = true }

// Free is the number of chunks that can still be lent, those never allocated included.
func (p *Pool) Free() int { return p.total - p.InUse() }

// Total is the bound in chunks.
func (p *Pool) Total() int { return p.total }

// InUse is the number of chunks that are lent.
func (p *Pool) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inUse
}

// NewBatch returns an empty batch that holds no chunk yet. maxChunksHint is how many chunks it will
// hold at most; more is possible and costs an allocation.
func (p *Pool) NewBatch(maxChunksHint int) *Batch {
	var b *Batch
	p.mu.Lock()
	if n := len(p.batches); n > 0 {
		b = p.batches[n-1]
		p.batches[n-1] = nil
		p.batches = p.batches[:n-1]
	}
	p.mu.Unlock()
	if b == nil {
		b = new(Batch)
	}
	chunks := b.chunks
	if cap(chunks) < maxChunksHint {
		chunks = make([]*chunk, 0, maxChunksHint)
	}
	*b = Batch{pool: p, chunks: chunks, size: Overhead}
	return b
}

// take appends n chunks to dst, or none when fewer than n are free.
func (p *Pool) take(dst []*chunk, n int) ([]*chunk, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total-p.inUse < n {
		return dst, false
	}
	p.inUse += n
	for n > 0 {
		if len(p.idle) == 0 {
			p.addSlabLocked(n)
		}
		last := len(p.idle) - 1
		dst = append(dst, p.idle[last])
		p.idle[last] = nil
		p.idle = p.idle[:last]
		n--
	}
	return dst, true
}

// addSlabLocked allocates at least one chunk; the caller has checked that the bound allows n more.
func (p *Pool) addSlabLocked(n int) {
	n = min(max(n, slabChunks), p.total-p.allocated)
	slab := make([]chunk, n)
	p.allocated += n
	for i := n - 1; i >= 0; i-- { // lent in ascending order: pages are touched one after the other
		p.idle = append(p.idle, &slab[i])
	}
}

// put takes chunks back and clears the slice's elements.
func (p *Pool) put(chunks []*chunk) {
	for _, c := range chunks {
		poison(c[:])
	}
	p.mu.Lock()
	p.inUse -= len(chunks)
	for i := len(chunks) - 1; i >= 0; i-- { // the first chunk, touched last by a stamp, is lent first
		p.idle = append(p.idle, chunks[i])
	}
	p.mu.Unlock()
	clear(chunks)
}

func (p *Pool) putBatch(b *Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.batches) < max(p.total, minIdleBatches) {
		p.batches = append(p.batches, b)
	}
}
