package cutproxy

import (
	"bytes"
	"testing"
)

// Both forms of the answer to ApiVersions lose the key that is hidden, and nothing else; one that is cut is left alone.
func TestHide(t *testing.T) {
	const nobody = nobodysKey
	for version, answer := range map[int16][]byte{
		0: {0, 0, 0, 7, 0, 0, 0, 0, 0, 2 /**/, 0, 0, 0, 0, 0, 9 /**/, 0, 22, 0, 0, 0, 4},
		3: {0, 0, 0, 7, 0, 0, 3 /**/, 0, 0, 0, 0, 0, 9, 0 /**/, 0, 22, 0, 0, 0, 4, 0 /**/, 0, 0, 0, 0, 0},
	} {
		got := bytes.Clone(answer)
		hide(got, version, []int16{22})
		want := bytes.Replace(answer, []byte{0, 22}, []byte{nobody >> 8, nobody & 0xff}, 1)
		if !bytes.Equal(got, want) {
			t.Errorf("version %d: % x, want % x", version, got, want)
		}
		for n := range answer {
			hide(bytes.Clone(answer[:n]), version, []int16{22})
		}
	}
}
