package fgsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"functiongraph-ingest/bench/hist"
)

// Options are what a run needs. Either Package or Command is given.
type Options struct {
	Scenario *Scenario // complete, see [Parse]

	Package string   // a zip with extension/extension….sh
	Command []string // a program that stands for the start script
	Name    string   // of the start script when there is a Command; "" takes any good one

	Env      []string  // name=value, for the extension. It gets nothing of this process's environment but PATH
	Recorder Recorder  // may be nil
	Log      io.Writer // a line per phase; nil for none
	Echo     io.Writer // what the extension prints; nil for nowhere

	// Neighbour is the command that ends up in [RunNeighbour] with its last argument, the file name.
	Neighbour []string
}

// run is the state of one.
type run struct {
	Options
	violations violations
	report     Report
	dir        string // of this run, removed at the end
	limits     *limits
	api        *api
	process    *process
	traffic    *traffic
	core       int // that is measured; -1: any
}

// Run plays the platform for one extension, from its start to its end. A violation is no error: it stands
// in the report. An error means that there was nothing to judge. The end of ctx stops the extension early.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Echo == nil {
		o.Echo = io.Discard
	}
	r := &run{Options: o, core: -1}
	r.report.Scenario, r.report.Notes = o.Scenario.Name, []string{}
	dir, err := os.MkdirTemp("", "fgsim-")
	if err != nil {
		return nil, err
	}
	r.dir = dir
	defer func() { _ = os.RemoveAll(dir) }()
	r.limits = limit(o.Scenario.Limits)
	defer func() { r.limits.remove() }()
	r.report.Limits = r.limits.text
	if err := r.play(ctx); err != nil {
		return nil, err
	}
	r.report.Violations = r.violations.all()
	return &r.report, nil
}

// play is the story.
func (r *run) play(ctx context.Context) error {
	command, err := r.command()
	if err != nil {
		return err
	}
	stopAPI, err := r.startAPI(command)
	if err != nil {
		return err
	}
	defer stopAPI()
	if r.Scenario.Neighbour.Window > 0 {
		defer r.pin()()
	}
	if r.process, err = launch(command, r.limits, r.core, r.Echo); err != nil {
		return err
	}
	defer r.process.kill()
	r.traffic = newTraffic(r.Scenario, r.api, nil, r.Recorder, r.violations.note) // silent until it has subscribed
	if r.ready(ctx) {
		if err := r.phases(ctx); err != nil {
			return err
		}
	}
	r.stop(ctx)
	return nil
}

// phases is what happens to an extension that is ready, as long as it lives.
func (r *run) phases(ctx context.Context) error {
	alive, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-r.process.gone:
			cancel(errDied)
		case <-alive.Done():
		}
	}()
	r.traffic = newTraffic(r.Scenario, r.api, &r.process.printed, r.Recorder, r.violations.note)
	defer r.traffic.client.CloseIdleConnections()
	r.idle(alive)
	if err := r.neighbour(alive); err != nil {
		return err
	}
	r.load(alive)
	return nil
}

var errDied = errors.New("the extension has ended")

// command makes the command that starts the extension, in a clean environment and an empty folder.
func (r *run) command() (*exec.Cmd, error) {
	args := r.Command
	switch {
	case r.Package != "" && len(args) > 0:
		return nil, errors.New("either a package or a command, not both")
	case r.Package != "":
		script, err := unpack(r.Package, filepath.Join(r.dir, "package"), r.violations.note)
		if err != nil {
			return nil, err
		}
		r.Name = filepath.Base(script)
		if args = []string{script}; !hasShebang(script) {
			args = []string{"/bin/sh", script}
		}
	case len(args) == 0:
		return nil, errors.New("neither a package nor a command is given")
	}
	cmd := exec.Command(args[0], args[1:]...)
	if cmd.Err != nil {
		return nil, cmd.Err
	}
	cmd.Dir = filepath.Join(r.dir, "cwd")
	return cmd, os.Mkdir(cmd.Dir, 0o755)
}

func hasShebang(script string) bool {
	f, err := os.Open(script)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	var b [2]byte
	_, err = io.ReadFull(f, b[:])
	return err == nil && string(b[:]) == "#!"
}

// startAPI serves the extension API and tells the command its address.
func (r *run) startAPI(cmd *exec.Cmd) (stop func(), err error) {
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		return nil, err
	}
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/tmp", "EXTENSION_API_ADDR=" + l.Addr().String()}, r.Env...)
	r.api = newAPI(r.Name, r.violations.note)
	server := &http.Server{Handler: r.api, ReadTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // it ends with Close
	return func() { _ = server.Close() }, nil
}

// pin chooses the core that extension and neighbour share, and leaves it to them until the function that it
// returns is called.
func (r *run) pin() (unpin func()) {
	core, unpin, err := leaveCore()
	if err != nil {
		r.remark("the simulator disturbs what is measured: %v", err)
	}
	r.core = core
	return unpin
}

func (r *run) remark(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

func (r *run) log(format string, args ...any) { fmt.Fprintf(r.Log, "fgsim: "+format+"\n", args...) }

// ready waits until the extension has registered and subscribed.
func (r *run) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, r.Scenario.Ready)
	defer cancel()
	if !r.reached(ctx, &r.api.registered, NeverRegistered, "registered") {
		return false
	}
	r.report.RegisteredMs = millis(r.api.registered.at.Sub(r.process.begun))
	if r.Scenario.NoTelemetry {
		r.log("registered after %.1f ms", r.report.RegisteredMs)
		return true
	}
	if !r.reached(ctx, &r.api.subscribed, NeverSubscribed, "subscribed") {
		return false
	}
	r.report.SubscribedMs = millis(r.api.subscribed.at.Sub(r.process.begun))
	r.log("subscribed after %.1f ms", r.report.SubscribedMs)
	return true
}

func (r *run) reached(ctx context.Context, m *milestone, code, what string) bool {
	select {
	case <-m.done:
		return true
	case <-r.process.gone:
		if m.reached() {
			return true
		}
		r.remark("the extension ended before it had %s", what) // the stop notes the violation
	case <-ctx.Done():
		r.violations.note(code, fmt.Sprintf("not %s within %v", what, r.Scenario.Ready))
	}
	return false
}

// idle measures the process while nothing happens.
func (r *run) idle(ctx context.Context) {
	before, begun := r.process.use(), time.Now()
	r.report.Process.IdleRSS = before.rss
	if r.Scenario.Idle == 0 {
		return
	}
	r.log("idle for %v", r.Scenario.Idle)
	wait(ctx, r.Scenario.Idle)
	after, took := r.process.use(), time.Since(begun)
	r.report.Process.IdleRSS = after.rss
	cpu := max(0, after.cpu-before.cpu)
	r.report.Idle = &Idle{ForMs: millis(took), CPUMs: millis(cpu), Share: cpu.Seconds() / took.Seconds(), Switches: max(0, after.switches-before.switches)}
}

// neighbour measures a function beside the extension, alternately without and with telemetry.
func (r *run) neighbour(ctx context.Context) error {
	s := r.Scenario.Neighbour
	if s.Window == 0 {
		return nil
	}
	if len(r.Neighbour) == 0 {
		return errors.New("a neighbour needs its command")
	}
	n, err := startNeighbour(r.Neighbour, r.dir, r.limits, r.core)
	if err != nil {
		return err
	}
	defer n.close()
	r.log("neighbour: %d pairs of windows of %v", s.Pairs, s.Window)
	var alone, beside, seconds, share float64
	var undisturbed, disturbed hist.Hist
	var acked int64
	wait(ctx, s.Window/4) // until it runs
	for range s.Pairs {
		alone += n.during(&undisturbed, func() { wait(ctx, s.Window) })
		used, before := r.process.use().cpu, r.traffic.acked()
		beside += n.during(&disturbed, func() {
			begun := time.Now()
			r.traffic.run(ctx, s.Window)
			seconds += time.Since(begun).Seconds()
		})
		share += (r.process.use().cpu - used).Seconds()
		acked += r.traffic.acked() - before
		r.traffic.finish(ctx)
		wait(ctx, s.Window/4) // what it does after the last post belongs to neither window
	}
	if !n.process.running() || alone == 0 {
		return fmt.Errorf("the neighbour does not run: %s", n.process.exit())
	}
	r.report.Neighbour = &Interference{
		Alone: alone / float64(s.Pairs), Beside: beside / float64(s.Pairs), Slower: 1 - beside/alone, Windows: s.Pairs,
		Events: float64(acked) / seconds, Share: max(0, share) / seconds,
		AloneMs: latencyOf(&undisturbed), BesideMs: latencyOf(&disturbed),
	}
	return nil
}

// load is the traffic, with freezes at even distances and while no invocation runs.
func (r *run) load(ctx context.Context) {
	s := r.Scenario
	if s.Traffic.Duration == 0 {
		r.traffic.sendBack(ctx)
		return
	}
	r.log("traffic for %v", s.Traffic.Duration)
	stretch := s.Traffic.Duration / time.Duration(s.Freeze.Times+1)
	for i := range s.Freeze.Times + 1 {
		r.traffic.run(ctx, stretch)
		if i < s.Freeze.Times || !s.Stop.UnderLoad {
			r.traffic.finish(ctx)
		}
		if i < s.Freeze.Times && ctx.Err() == nil {
			r.freeze(ctx)
		}
	}
}

func (r *run) freeze(ctx context.Context) {
	if err := r.process.signal(syscall.SIGSTOP); err != nil {
		r.remark("%v", err)
		return
	}
	r.report.Freezes++
	wait(ctx, r.Scenario.Freeze.For)
	if err := r.process.signal(syscall.SIGCONT); err != nil {
		r.remark("%v", err)
	}
}

// stop ends the extension and completes the report.
func (r *run) stop(ctx context.Context) {
	died := !r.process.running()
	if died {
		r.violations.note(Died, fmt.Sprintf("ended (%s) without having been told to", r.process.exit()))
	}
	used := r.process.use()
	loadEnded := r.loadOn(ctx)
	r.traffic.stopping.Store(true)
	begun := time.Now()
	if err := r.process.signal(syscall.SIGTERM); err != nil {
		r.remark("%v", err)
	}
	grace := time.NewTimer(r.Scenario.Stop.Grace)
	defer grace.Stop()
	select {
	case <-r.process.gone:
	case <-grace.C:
		r.violations.note(Killed, fmt.Sprintf("did not end within %v of SIGTERM and was killed", r.Scenario.Stop.Grace))
	}
	r.process.kill()
	r.report.Exit = Exit{Code: r.process.exitCode(), TookMs: millis(time.Since(begun)), Text: r.process.exit()}
	if died {
		r.report.Exit.Text += ", by itself"
		r.report.Exit.TookMs = 0
	}
	loadEnded()
	if n := r.limits.kills(); n > 0 {
		r.violations.note(OutOfMemory, fmt.Sprintf("the kernel killed %d processes at the memory limit", n))
	}
	r.fill(r.process.final(used), used.threads)
}

// loadOn starts the load that a stop under load has; the function it returns ends it and waits.
func (r *run) loadOn(ctx context.Context) (end func()) {
	if !r.Scenario.Stop.UnderLoad || r.Scenario.Traffic.Duration == 0 || !r.process.running() || ctx.Err() != nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil && r.process.running() {
			r.traffic.run(ctx, groupPoll)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (r *run) fill(u usage, threads int) {
	r.report.Posts, r.report.Invocations, r.report.Latency = r.traffic.result()
	r.report.Printed.Tail, r.report.Printed.Lines, r.report.Printed.Dropped = r.process.printed.said()
	for i, line := range r.report.Printed.Tail {
		r.report.Printed.Tail[i] = strings.ToValidUTF8(line, "\uFFFD")
	}
	p := &r.report.Process
	p.PeakRSS, p.CPUMs, p.Switches, p.Threads = max(u.peak, p.IdleRSS), millis(u.cpu), u.switches, threads
}
