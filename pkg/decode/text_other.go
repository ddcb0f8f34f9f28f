//go:build purego || !amd64

package decode

// Vectors reports whether strings are scanned by assembly.
func Vectors() bool { return false }

// strictString is strictGo where there is nothing faster.
func strictString(b []byte, start int) int { return strictGo(b, start) }
