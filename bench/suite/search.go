package suite

import (
	"context"
	"fmt"
	"time"
)

// Search looks for the highest rate that a target sustains: the rate is doubled until it fails, then the
// interval is halved. Each trial is an open loop at one rate, as long as its load's duration; a rate fails when two
// trials do, so that a stall of the machine does not pass for the limit.
type Search struct {
	From      float64  `yaml:"from" json:"from"`           // first rate, events per second; 1,000
	P99       Duration `yaml:"p99" json:"p99"`             // a trial fails above; 250ms
	Refused   float64  `yaml:"refused" json:"refused"`     // share of the answers that are refusals, above which it fails; 0.001
	Precision float64  `yaml:"precision" json:"precision"` // ends when the limits differ by so little; 0.05
}

const (
	mostTrials = 24
	// leastPart of the offered events must be answered while measuring: else a queue grows somewhere.
	leastPart = 0.97
)

func (s *Search) complete() {
	or(&s.From, 1000)
	or(&s.P99, Duration(250*time.Millisecond))
	or(&s.Refused, 0.001)
	or(&s.Precision, 0.05)
}

// verdict says why a trial failed; "" when it passed.
func (s *Search) verdict(w *Row) string {
	answers := int64(0)
	for _, n := range w.Statuses {
		answers += n
	}
	switch refused := ratio(float64(w.Refused), float64(answers)); {
	case w.NoReply > 0:
		return fmt.Sprintf("%d without answer", w.NoReply)
	case refused > s.Refused:
		return fmt.Sprintf("%.2f %% refused", 100*refused)
	case w.EventsPerSec < leastPart*w.Offered:
		return fmt.Sprintf("only %.0f %% answered", 100*w.EventsPerSec/w.Offered)
	case w.P99 > millis(time.Duration(s.P99)):
		return fmt.Sprintf("p99 %.0f ms", w.P99)
	}
	return ""
}

// find calls trial with rates until it knows the highest that passes, and returns the row of that one; nil
// when even the first, divided by 64, fails.
func (s *Search) find(trial func(rate float64) (*Row, error)) (best *Row, err error) {
	low, high := 0.0, 0.0
	rate := s.From
	for range mostTrials {
		row, err := s.attempt(rate, trial)
		if err != nil {
			return nil, err
		}
		if row != nil {
			low, best = rate, row
		} else {
			high = rate
		}
		switch {
		case high == 0:
			rate = 2 * low
		case low == 0:
			if rate = high / 2; rate < s.From/64 {
				return nil, nil
			}
		case high <= low*(1+s.Precision):
			return best, nil
		default:
			rate = (low + high) / 2
		}
	}
	return best, nil
}

// attempt returns the row of a trial that passed, nil when none of two did.
func (s *Search) attempt(rate float64, trial func(rate float64) (*Row, error)) (*Row, error) {
	for range 2 {
		row, err := trial(rate)
		if err != nil || s.verdict(row) == "" {
			return row, err
		}
	}
	return nil, nil
}

// search runs the trials of a load and puts all they sent on the account.
func (r *Runner) search(ctx context.Context, p *process, l *Load, round int, a *account) (*Row, error) {
	best, err := l.Search.find(func(rate float64) (*Row, error) {
		trial := *l
		trial.Rate, trial.Share = rate, 0
		row, err := r.load(ctx, p, &trial, round, 0)
		if err != nil {
			return nil, err
		}
		a.add(row)
		if r.Progress != nil {
			r.Progress(fmt.Sprintf("    at %s/s: p99 %s ms, refused %d %s", thousands(rate), digits(row.P99), row.Refused, l.Search.verdict(row)))
		}
		return row, nil
	})
	if err != nil {
		return nil, err
	}
	if best == nil {
		return &Row{Target: p.target.Name, Load: l.Name, Round: round, Problem: "sustains no rate"}, nil
	}
	best.Samples, best.Windows, best.Acked, best.acks, best.open = nil, nil, 0, 0, 0 // on the account already
	return best, nil
}
