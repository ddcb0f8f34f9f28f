//go:build invariants

package body

// poison overwrites released memory, so that a late reader fails loudly.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}
