package suite

import (
	"context"
	"fmt"
	"slices"
)

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

// alone runs loads against one process and then checks what is in the topic. first is what the scenario's
// first load reached; 0 when it is one of these.
func (r *Runner) alone(ctx context.Context, s *Scenario, t *Target, round int, loads []Load, first float64) (rows []*Row, err error) {
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

// interleaved runs the loads one after the other, each against processes that live side by side.
func (r *Runner) interleaved(ctx context.Context, out *Result) error {
	for _, l := range out.Scenario.Loads {
		if err := r.beside(ctx, out, l); err != nil {
			return fmt.Errorf("%s: %w", out.Scenario.Name, err)
		}
	}
	return nil
}

// beside runs all rounds of a load, the targets in turn.
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
