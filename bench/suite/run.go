package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
		return r.session(ctx, s, t, round, s.Loads, 0)
	}
	var rows []*Row
	for i := range s.Loads {
		first := 0.0
		if i > 0 {
			first = rows[0].EventsPerSec
		}
		more, err := r.session(ctx, s, t, round, s.Loads[i:i+1], first)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// session is one process, its topic, and what it is answerable for.
type session struct {
	p     *process
	topic string
	a     account
}

// open makes topics and starts a process.
func (r *Runner) open(ctx context.Context, s *Scenario, t *Target, l *Load) (_ *session, err error) {
	r.topics++
	x := &session{topic: fmt.Sprintf("bench-%d", r.topics)}
	if err := r.broker.CreateTopic(x.topic, l.Partitions, topicConfigs()); err != nil {
		return nil, err
	}
	if err := r.broker.CreateTopic(x.topic+".dlq", 1, topicConfigs()); err != nil {
		return nil, err
	}
	args := slices.Concat(s.Args, l.Args, r.Args)
	if r.Profiles != "" {
		args = append(args, "--pprof")
	}
	x.p, err = launch(ctx, t, r.Binary, r.broker.Bootstrap(), x.topic, s.CPU, args...)
	return x, err
}

// run measures one load. first is what the scenario's first load reached.
func (r *Runner) run(ctx context.Context, s *Scenario, x *session, l Load, round int, first float64) (row *Row, err error) {
	if r.Adjust != nil {
		l = r.Adjust(l)
	}
	if l.Search != nil {
		row, err = r.search(ctx, x.p, &l, round, &x.a)
	} else if row, err = r.load(ctx, x.p, &l, round, first); err == nil {
		x.a.add(row)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; %s said:\n%s", l.Name, err, x.p.target.Name, tail(x.p.Stderr()))
	}
	r.tell(s, row)
	return row, nil
}

// end stops the process and checks what is in the topic. last is its last row and gets the problem that was found.
func (r *Runner) end(ctx context.Context, s *Scenario, x *session, last *Row) error {
	problem, err := r.settle(ctx, x.p, x.topic, &x.a)
	if problem != "" && last.Problem == "" {
		last.Problem = problem
		r.tell(s, last)
	}
	return err
}

// session runs loads against one process and then checks what is in the topic. first is what the scenario's
// first load reached; 0 when it is one of these.
func (r *Runner) session(ctx context.Context, s *Scenario, t *Target, round int, loads []Load, first float64) (rows []*Row, err error) {
	x, err := r.open(ctx, s, t, &loads[0])
	if err != nil {
		return nil, err
	}
	defer x.p.close()
	for _, l := range loads {
		row, err := r.run(ctx, s, x, l, round, first)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
		if first == 0 {
			first = row.EventsPerSec
		}
	}
	return rows, r.end(ctx, s, x, rows[len(rows)-1])
}

// interleaved runs all rounds of a load against processes that live side by side.
func (r *Runner) interleaved(ctx context.Context, out *Result) error {
	for _, l := range out.Scenario.Loads {
		if err := r.beside(ctx, out, l); err != nil {
			return fmt.Errorf("%s: %w", out.Scenario.Name, err)
		}
	}
	return nil
}

func (r *Runner) beside(ctx context.Context, out *Result, l Load) error {
	s := out.Scenario
	open := make([]*session, len(s.Targets))
	for i := range s.Targets {
		x, err := r.open(ctx, s, &s.Targets[i], &l)
		if err != nil {
			return err
		}
		defer x.p.close()
		open[i] = x
	}
	last := make([]*Row, len(s.Targets))
	for round := 1 - s.WarmRounds; round <= s.Rounds; round++ {
		for i := range s.Targets {
			i = s.turn(round, i)
			row, err := r.run(ctx, s, open[i], l, round, 0)
			if err != nil {
				return err
			}
			out.keep(row)
			last[i] = row
		}
	}
	for i, x := range open {
		if err := r.end(ctx, s, x, last[i]); err != nil {
			return err
		}
	}
	return nil
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

// settle stops the process and returns what is wrong with what it leaves behind.
func (r *Runner) settle(ctx context.Context, p *process, topic string, a *account) (string, error) {
	code, err := p.Stop(ctx)
	if err != nil {
		return "", err
	}
	inTopic, err := r.broker.Count(topic)
	if err != nil {
		return "", err
	}
	problem := ""
	if p.ours() {
		l, err := p.LastLedger()
		if err != nil {
			return "", err
		}
		dead, err := r.broker.Count(topic + ".dlq")
		if err != nil {
			return "", err
		}
		problem = a.check(code, l, inTopic, dead)
	} else {
		problem = a.checkPeer(p.target.Records, inTopic)
	}
	return problem, r.drop(topic, topic+".dlq")
}

func (r *Runner) drop(topics ...string) error {
	for _, t := range topics {
		if err := r.broker.DeleteTopic(t); err != nil {
			return err
		}
	}
	return nil
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
