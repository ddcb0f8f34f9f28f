//go:build invariants

package body

import "testing"

// TestPoison: with the invariants tag a view that outlives its body does not look like data.
func TestPoison(t *testing.T) {
	p := NewPool(1 << 20)
	b := p.Get(10)
	b.Data = append(b.Buffer()[:0], "[{}]"...)
	view := b.Data
	p.Put(b)
	for i, c := range view {
		if c != 0xdb {
			t.Errorf("byte %d is still %q", i, c)
		}
	}
}
