package audit

import "math/bits"

const (
	chunkBits = 4096
	words     = chunkBits / 64
)

// set is a set of numbers from 0 on. It takes a bit for each number, and nothing but an entry of a map for 4,096 of them once
// all of them are in it: a dense sequence of ten million takes 60 KB in the end.
type set struct {
	chunks map[int64]*[words]uint64 // nil pointer: all of them
	size   int64
	held   int64 // bytes that the chunks take, about
}

// entryBytes is what a chunk takes in the map.
const (
	entryBytes = 40
	chunkBytes = chunkBits / 8
)

// add puts n into the set and reports whether it was not in it.
func (s *set) add(n int64) bool {
	if s.chunks == nil {
		s.chunks = map[int64]*[words]uint64{}
	}
	key, bit := n/chunkBits, n%chunkBits
	c, known := s.chunks[key]
	if known && c == nil {
		return false
	}
	if c == nil {
		c = new([words]uint64)
		s.chunks[key] = c
		s.held += entryBytes + chunkBytes
	}
	w, mask := &c[bit/64], uint64(1)<<(bit%64)
	if *w&mask != 0 {
		return false
	}
	*w |= mask
	s.size++
	if *w == ^uint64(0) && full(c) {
		s.chunks[key] = nil
		s.held -= chunkBytes
	}
	return true
}

func full(c *[words]uint64) bool {
	for _, w := range c {
		if w != ^uint64(0) {
			return false
		}
	}
	return true
}

func (s *set) has(n int64) bool {
	c, known := s.chunks[n/chunkBits]
	return known && (c == nil || c[n%chunkBits/64]&(1<<(n%64)) != 0)
}

// count is how many numbers from from up to, not including, to are in the set.
func (s *set) count(from, to int64) (n int64) {
	for key, c := range s.chunks {
		low, high := max(from-key*chunkBits, 0), min(to-key*chunkBits, chunkBits)
		if low >= high {
			continue
		}
		if c == nil {
			n += high - low
			continue
		}
		for i := low / 64; i*64 < high; i++ {
			w := c[i]
			if d := low - i*64; d > 0 {
				w = w >> d << d
			}
			if d := high - i*64; d < 64 {
				w &= 1<<d - 1
			}
			n += int64(bits.OnesCount64(w))
		}
	}
	return n
}

// gaps returns the ranges from from up to, not including, to that are not in the set, at most limit of them.
func (s *set) gaps(from, to int64, limit int) (list [][2]int64) {
	for n := from; n < to; {
		if c, known := s.chunks[n/chunkBits]; known && c == nil {
			n = (n/chunkBits + 1) * chunkBits
			continue
		}
		if s.has(n) {
			n++
			continue
		}
		if len(list) == limit {
			return list
		}
		first := n
		for n < to && !s.has(n) {
			if _, known := s.chunks[n/chunkBits]; !known {
				n = min(to, (n/chunkBits+1)*chunkBits)
			} else {
				n++
			}
		}
		list = append(list, [2]int64{first, n})
	}
	return list
}
