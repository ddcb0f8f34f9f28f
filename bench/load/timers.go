//go:build linux

package load

import "time"

// timers is a heap of connections that wait, the earliest first.
type timers []timer

type timer struct {
	at time.Duration
	c  *conn
}

func (t timers) first() (time.Duration, bool) {
	if len(t) == 0 {
		return 0, false
	}
	return t[0].at, true
}

func (t *timers) add(at time.Duration, c *conn) {
	h := append(*t, timer{at, c})
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent].at <= h[i].at {
			break
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
	*t = h
}

// due takes out one connection whose time has come, or returns nil.
func (t *timers) due(now time.Duration) *conn {
	h := *t
	if len(h) == 0 || h[0].at > now {
		return nil
	}
	c, last := h[0].c, len(h)-1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && h[child+1].at < h[child].at {
			child++
		}
		if h[i].at <= h[child].at {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	*t = h
	return c
}
