//go:build linux

package load

import (
	"math/rand/v2"
	"time"
)

// schedule is when the bodies of one loop are to be sent, whatever the server does. All times are since the
// start of the run.
type schedule struct {
	mean    float64 // nanoseconds between two bodies
	poisson bool
	rng     *rand.Rand
	exact   float64 // of next, so that rounding does not add up
	next    time.Duration
	events  int             // of a body, in the mean
	late    []time.Duration // whose time has come and that no connection took yet
	from    int             // the first of late that is left
	over    bool            // MaxEvents is reached
}

func newSchedule(r *Run, id int, payloads []*Payload, now time.Duration) *schedule {
	events := 0
	for _, p := range payloads {
		events += p.Events()
	}
	perBody := float64(events) / float64(len(payloads))
	threads := float64(len(r.loops))
	s := &schedule{
		mean: perBody * threads / r.opts.Rate * float64(time.Second), poisson: r.opts.Arrivals == Poisson,
		rng: rand.New(rand.NewPCG(r.opts.Profile.Seed, uint64(id)+1)), events: int(perBody + 0.5),
	}
	s.exact = float64(now) + s.mean*float64(id+1)/threads // loops take turns
	s.next = time.Duration(s.exact)
	return s
}

// advance puts the bodies whose time has come behind those that wait, as long as take agrees.
func (s *schedule) advance(now time.Duration, take func(events int) bool) {
	for !s.over && s.next <= now {
		if !take(s.events) {
			s.over = true
			return
		}
		s.late = append(s.late, s.next)
		step := s.mean
		if s.poisson {
			step *= s.rng.ExpFloat64()
		}
		s.exact += step
		s.next = time.Duration(s.exact)
	}
}

func (s *schedule) empty() bool  { return s.from == len(s.late) }
func (s *schedule) waiting() int { return len(s.late) - s.from }

func (s *schedule) pop() time.Duration {
	at := s.late[s.from]
	s.from++
	if s.from == len(s.late) || s.from > 4096 && s.from > len(s.late)/2 {
		s.late = s.late[:copy(s.late, s.late[s.from:])]
		s.from = 0
	}
	return at
}
