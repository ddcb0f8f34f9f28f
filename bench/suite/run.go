package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"functiongraph-ingest/bench/load"
)

// Runner runs scenarios. The zero value but Binary is ready.
type Runner struct {
	Binary   string            // ingest
	Args     []string          // of ingest serve, in every scenario, behind the scenario's
	Adjust   func(Load) Load   // changes loads before they run, for a shorter run; nil: as written
	Progress func(line string) // hears of every row; nil: nobody
	Profiles string            // folder for a CPU profile per load; starts ingest with --pprof

	broker broker
	kind   Kafka // of broker
	topics int
}

// Result is a scenario with what was measured.
type Result struct {
	Scenario *Scenario `json:"scenario"`
	Rows     []*Row    `json:"rows"`
	Machine  *Machine  `json:"machine,omitempty"` // of its own run, if that was another than the report's
}

// Problems are what must not be, one line each.
func (r *Result) Problems() (list []string) {
	for _, w := range r.Rows {
		if w.Problem != "" {
			list = append(list, fmt.Sprintf("%s: %s, %s, round %d: %s", r.Scenario.Name, w.Target, w.Load, w.Round, w.Problem))
		}
	}
	return list
}

// Close ends the broker.
func (r *Runner) Close() error {
	if r.broker == nil {
		return nil
	}
	err := r.broker.Close()
	r.broker = nil
	return err
}

// Run runs one scenario. What is wrong with a row is in the row; an error means that nothing could be
// measured. Scenarios of the same topology share a cluster.
func (r *Runner) Run(ctx context.Context, s *Scenario) (*Result, error) {
	if err := r.start(ctx, s.Kafka); err != nil {
		return nil, err
	}
	out := &Result{Scenario: s}
	if s.Interleaved {
		return out, r.interleaved(ctx, out)
	}
	for round := 1 - s.WarmRounds; round <= s.Rounds; round++ {
		for i := range s.Targets {
			t := &s.Targets[s.turn(round, i)]
			rows, err := r.round(ctx, s, t, round)
			out.keep(rows...)
			if err != nil {
				return out, fmt.Errorf("%s: %s, round %d: %w", s.Name, t.Name, round, err)
			}
		}
	}
	return out, nil
}

// turn is the target that is i-th in a round: what goes first meets a colder broker.
func (s *Scenario) turn(round, i int) int {
	if round%2 == 0 {
		return len(s.Targets) - 1 - i
	}
	return i
}

// keep adds rows; of rounds that only warm up, those with a problem.
func (r *Result) keep(rows ...*Row) {
	for _, w := range rows {
		if w.Round > 0 || w.Problem != "" {
			r.Rows = append(r.Rows, w)
		}
	}
}

func (r *Runner) start(ctx context.Context, k Kafka) (err error) {
	k.Partitions = 0 // belongs to topics
	if r.broker != nil && r.kind == k {
		return nil
	}
	if err := r.Close(); err != nil {
		return err
	}
	r.kind = k
	r.broker, err = startBroker(ctx, k)
	return err
}

// round runs all loads on one target.
func (r *Runner) round(ctx context.Context, s *Scenario, t *Target, round int) ([]*Row, error) {
	if s.Shared {
		return r.alone(ctx, s, t, round, s.Loads, 0)
	}
	var rows []*Row
	for i := range s.Loads {
		first := 0.0
		if i > 0 {
			first = rows[0].EventsPerSec
		}
		more, err := r.alone(ctx, s, t, round, s.Loads[i:i+1], first)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func (r *Runner) tell(s *Scenario, w *Row) {
	if r.Progress != nil {
		note := ""
		if w.Round < 1 {
			note = "  (to warm up: does not count)"
		}
		r.Progress(fmt.Sprintf("%-12s %-12s %-22s %s%s", s.Name, w.Target, w.Load, w.line(), note))
	}
}

// load runs one load: warming up, measuring, and the answers that come after it.
func (r *Runner) load(ctx context.Context, p *process, l *Load, round int, first float64) (*Row, error) {
	o, err := l.options(p, round, first)
	if err != nil {
		return nil, err
	}
	clients, err := load.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	defer clients.Stop()
	samples := p.sample(len(l.Faults) > 0)
	var before, after reading
	err = func() error {
		if err := pause(ctx, p, time.Duration(l.WarmUp)); err != nil {
			return err
		}
		if before, err = p.read(true); err != nil {
			return err
		}
		clients.Next()
		if err := r.measure(ctx, p, l, round); err != nil {
			return err
		}
		clients.Next()
		after, err = p.read(true)
		return err
	}()
	series := samples.stop()
	if err != nil {
		return nil, err
	}
	phases := clients.Stop()
	row := &Row{Target: p.target.Name, Load: l.Name, Round: round, Samples: series}
	row.fill(phases, 1, before, after)
	for _, w := range clients.Series() {
		row.Windows = append(row.Windows, Window{
			At: w.At.Seconds(), Events: float64(w.Events) / sampleEvery.Seconds(), Refused: float64(w.Refused+w.NoReply) / sampleEvery.Seconds(),
			P50: millis(w.Latency.Quantile(0.5)), P99: millis(w.Latency.Quantile(0.99)), P999: millis(w.Latency.Quantile(0.999)),
		})
	}
	if row.PeakRSS, err = p.PeakRSS(); err != nil {
		return nil, err
	}
	row.expect(&l.Expect, &phases[1], first)
	return row, nil
}

func (l *Load) options(p *process, round int, first float64) (load.Options, error) {
	profile, err := load.Named(l.Profile)
	if l.Events > 0 {
		profile.Events = l.Events
	}
	profile.Path, profile.Encoding, profile.Seed = p.target.Path, l.Encoding, uint64(round)
	o := load.Options{
		Addr: p.Listen, Conns: l.Conns, Profile: profile, Interval: sampleEvery, Timeout: 2 * time.Minute,
		RetryAfter: l.RetryAfter, ReadWhileWriting: l.ReadWhileWriting,
	}
	if l.Arrivals != "" {
		o.Arrivals = load.Arrivals(l.Arrivals)
		o.Rate = l.Rate
		if l.Share > 0 {
			o.Rate = l.Share * first
		}
	}
	return o, err
}

// measure lasts as long as the load is measured, and makes its faults and its profile.
func (r *Runner) measure(ctx context.Context, p *process, l *Load, round int) error {
	begin := time.Now()
	for _, f := range l.Faults {
		if err := pause(ctx, p, time.Duration(f.At)-time.Since(begin)); err != nil {
			return err
		}
		end, err := trouble(r.broker, f)
		if err != nil {
			return err
		}
		err = pause(ctx, p, time.Duration(f.For))
		if errEnd := end(); err == nil {
			err = errEnd
		}
		if err != nil {
			return err
		}
	}
	if r.Profiles != "" && p.ours() {
		if err := r.profile(p, l, round); err != nil {
			return err
		}
	}
	return pause(ctx, p, time.Duration(l.Duration)-time.Since(begin))
}

// profile takes a CPU profile as long as the load.
func (r *Runner) profile(p *process, l *Load, round int) error {
	seconds := max(1, int(time.Duration(l.Duration).Seconds()))
	status, profile, err := p.GetWithin(time.Duration(seconds)*time.Second+time.Minute, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
	if err != nil {
		return err
	}
	if status != 200 {
		return fmt.Errorf("/debug/pprof answered %d: %.200q", status, profile)
	}
	if err := os.MkdirAll(r.Profiles, 0o755); err != nil {
		return err
	}
	name := strings.NewReplacer("/", "-per-", " ", "-", ",", "").Replace(fmt.Sprintf("%s-round-%d.pprof", l.Name, round))
	return os.WriteFile(filepath.Join(r.Profiles, name), profile, 0o644)
}

// pause waits for d, or fails when the run or the process ends before.
func pause(ctx context.Context, p *process, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.Exited():
		return fmt.Errorf("%s ended under load", p.target.Name)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
