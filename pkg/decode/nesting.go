package decode

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

// inObject reports whether the innermost open bracket is known to be a brace.
func (n *nesting) inObject() bool {
	l := n.level - 1
	return l >= 0 && l < MaxDepth && n.objects[l>>6]>>(l&63)&1 == 1
}

// close closes the innermost open bracket; false when that is of the other kind, as far as is known.
func (n *nesting) close(object bool) bool {
	if n.level == 0 || n.level <= MaxDepth && n.inObject() != object {
		return false
	}
	n.level--
	return true
}
