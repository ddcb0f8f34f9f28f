package listen

import (
	"strconv"
	"sync/atomic"
	"time"
)

// Refusing costs: the answer, and as much of the body as the client's kernel had already taken; of a long body
// also the connection. When far more are refused than admitted, that cost eats what the admitted ones need. So
// two things follow the crowd:
//
// Retry-After is longer the more of a crowd there is: about as long as it takes to serve everybody once. It grows by
// half while more bodies are refused than admitted, and shrinks when few are.
//
// Patience is how many times --admit-wait a body waits for its room. Who waits costs nothing: the body is in the
// kernels' buffers and it is not read. Clients that are refused come back, if they are polite after Retry-After,
// and that is ten times longer than the wait that would have saved the way. Patience grows while refusals are more
// than a quarter of what is admitted (one costs an eighth of serving 500 events), and is gone when nothing is admitted: then waiting
// is in vain, and the refusal comes as soon as it may.
const (
	minRetryAfter = 1
	maxRetryAfter = 30
	maxPatience   = 30
	// longestWait bounds patience, unless --admit-wait itself is longer: clients have timeouts too.
	longestWait = 3 * time.Second
)

// pace is the present Retry-After and patience. tick is called by one goroutine, the rest by all.
type pace struct {
	seconds           atomic.Int32
	patience          atomic.Int32
	admitted, refused int64 // totals at the last tick
}

func (p *pace) init() {
	p.seconds.Store(minRetryAfter)
	p.patience.Store(1)
}

// tick looks at what happened since the last one.
func (p *pace) tick(admitted, refused int64) {
	a, r := admitted-p.admitted, refused-p.refused
	p.admitted, p.refused = admitted, refused
	p.seconds.Store(adapted(p.seconds.Load(), maxRetryAfter, r > a, 4*r < a || r == 0))
	p.patience.Store(adapted(p.patience.Load(), maxPatience, 4*r > a, 16*r < a || r == 0))
	if a == 0 {
		p.patience.Store(1)
	}
}

// adapted is n, half more or a quarter less, from 1 to most.
func adapted(n, most int32, grow, shrink bool) int32 {
	switch {
	case grow:
		return min(most, n+n/2+1)
	case shrink:
		return max(1, n-n/4-1)
	}
	return n
}

// header is the value of Retry-After.
func (p *pace) header() string { return strconv.Itoa(int(p.seconds.Load())) }

// wait is how long a body waits for its room, of which the setting is the least.
func (p *pace) wait(setting time.Duration) time.Duration {
	return max(setting, min(longestWait, setting*time.Duration(p.patience.Load())))
}
