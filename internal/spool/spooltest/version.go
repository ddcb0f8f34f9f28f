package spooltest

import (
	"encoding/binary"
	"hash/crc32"
)

// SetVersion gives a segment or cursor file in memory another format version, with the right checksum: what a program
// of that version leaves behind.
func SetVersion(p []byte, version uint32) []byte {
	end := 64
	if string(p[:8]) == "ingcursr" {
		end = 512
	}
	binary.LittleEndian.PutUint32(p[12:], version)
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p[12:end], crc32.MakeTable(crc32.Castagnoli)))
	return p
}
