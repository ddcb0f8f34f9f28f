package listen

import (
	"strconv"
	"sync/atomic"
)

// Refusing costs: a connection, and as much of the body as the client's kernel had already taken. When
// far more are refused than admitted, that cost eats what the admitted ones need. So Retry-After is
// longer the more of a crowd there is: about as long as it takes to serve everybody once. It grows by
// half while more bodies are refused than admitted, and shrinks when few are.
const (
	minRetryAfter = 1
	maxRetryAfter = 30
)

// pace is the present Retry-After. tick is called by one goroutine, the rest by all.
type pace struct {
	seconds           atomic.Int32
	admitted, refused int64 // totals at the last tick
}

func (p *pace) init() { p.seconds.Store(minRetryAfter) }

// tick looks at what happened since the last one.
func (p *pace) tick(admitted, refused int64) {
	a, r := admitted-p.admitted, refused-p.refused
	p.admitted, p.refused = admitted, refused
	switch s := p.seconds.Load(); {
	case r > a:
		p.seconds.Store(min(maxRetryAfter, s+s/2+1))
	case 4*r < a || r == 0:
		p.seconds.Store(max(minRetryAfter, s-s/4-1))
	}
}

// header is the value of Retry-After.
func (p *pace) header() string { return strconv.Itoa(int(p.seconds.Load())) }
