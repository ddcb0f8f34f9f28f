//go:build purego || !amd64

package decode

// strictString is strictGo where there is nothing faster.
func strictString(b []byte, start int) int { return strictGo(b, start) }
