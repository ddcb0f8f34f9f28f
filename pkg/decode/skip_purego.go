//go:build purego || go1.28 || !(amd64 || arm64)

package decode

import "unicode/utf8"

// Native tells whether sonic's native code is in use.
const Native = false

func validUTF8(b []byte) bool { return utf8.Valid(b) }

func (d *Decoder) longText(b []byte, p int) int { return d.text(b, p) }

// container takes an object or array inside an element.
func (d *Decoder) container(b []byte, p int) int {
	end, _, _ := validate(b, p, MaxDepth-1, d.lenient)
	return end
}
