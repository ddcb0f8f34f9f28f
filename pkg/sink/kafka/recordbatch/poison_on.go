//go:build invariants

package recordbatch

// poison overwrites released memory, so that a late reader fails loudly (the CRC is wrong).
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}
