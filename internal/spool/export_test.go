package spool

import "encoding/binary"

// WithVersion gives a segment or the cursor file another version, with the right checksum.
func WithVersion(p []byte, version uint32) []byte {
	end := segmentHeaderBytes
	if string(p[:8]) == cursorMagic {
		end = cursorHeaderBytes
	}
	binary.LittleEndian.PutUint32(p[12:], version)
	binary.LittleEndian.PutUint32(p[8:], checksum(p[12:end]))
	return p
}
