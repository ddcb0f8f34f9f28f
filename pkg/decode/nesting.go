package decode

import "math/bits"

// nesting is a stack of brackets that forgives mismatches: one bit per level, 1 = object. Levels above
// MaxDepth are only counted.
type nesting struct {
	objects [MaxDepth / 64]uint64
	level   int
}

func (n *nesting) open(object bool) {
	if l := n.level; l < MaxDepth {
		if n.objects[l>>6] &^= 1 << (l & 63); object {
			n.objects[l>>6] |= 1 << (l & 63)
		}
	}
	n.level++
}

// inObject tells whether the innermost open bracket is known to be a brace.
func (n *nesting) inObject() bool {
	l := n.level - 1
	return l >= 0 && l < MaxDepth && n.objects[l>>6]>>(l&63)&1 == 1
}

// close closes the innermost open bracket of its kind and all inside it; nothing if there is none.
func (n *nesting) close(object bool) {
	if n.level > MaxDepth {
		n.level--
		return
	}
	for l := n.level; l > 0; {
		w := (l - 1) >> 6
		x := n.objects[w]
		if !object {
			x = ^x
		}
		x &= ^uint64(0) >> (63 - (l-1)&63)
		if x != 0 {
			n.level = w<<6 + bits.Len64(x) - 1
			return
		}
		l = w << 6
	}
}
