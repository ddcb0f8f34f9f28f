//go:build purego || nosonic || go1.28 || !(amd64 || arm64)

package decode

import "unicode/utf8"

// Native tells whether sonic's native code is in use.
const Native = false

// skip never decides anything: the Go scanner does.
func skip([]byte, int) int { return -1 }

func validUTF8(b []byte) bool { return utf8.Valid(b) }
