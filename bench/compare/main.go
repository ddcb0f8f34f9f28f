// Command compare tells whether this tree is faster than another commit, on a machine that is not quiet: it
// builds the benchmarks of both, runs them in turn, and lets benchstat judge. With -suite it does the same with
// the whole program, in scenarios of the suite.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// packages are those with benchmarks of the hot path.
const packages = "./pkg/decode ./pkg/ring ./pkg/sink/kafka/recordbatch"

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type settings struct {
	base, packages, bench, benchtime, scenarios, keep string
	rounds                                            int
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	s := &settings{}
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	flags.StringVar(&s.base, "base", "HEAD", "commit to compare this tree with")
	flags.StringVar(&s.packages, "packages", packages, "packages whose benchmarks are run")
	flags.StringVar(&s.bench, "bench", "Decode/(heavy|small)/64K/(strict|lenient)|WithWork|Append|Stamp|Compress", "benchmarks, a regular expression")
	flags.StringVar(&s.benchtime, "benchtime", "200ms", "time of one benchmark in one round")
	flags.StringVar(&s.scenarios, "suite", "", "run these scenarios of the suite instead, separated by blanks")
	flags.StringVar(&s.keep, "keep", "", "folder for base.txt and new.txt, or suite.txt; empty: they are not kept")
	flags.IntVar(&s.rounds, "rounds", 8, "rounds; benchstat wants 6 at least")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ingest-compare-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "base")
	if err := do(ctx, ".", "git", "worktree", "add", "--detach", "--quiet", tree, s.base); err != nil {
		return err
	}
	defer func() { // also when ctx has ended
		err = errors.Join(err, do(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", tree))
	}()
	sides := []*side{{name: "base", tree: tree}, {name: "new", tree: "."}}
	if s.scenarios != "" {
		return programs(ctx, s, sides, dir, out)
	}
	if err := alternate(ctx, s, sides, dir, out); err != nil {
		return err
	}
	return judge(ctx, s, sides, dir, out)
}

// alternate builds both sides and runs them in turn.
func alternate(ctx context.Context, s *settings, sides []*side, dir string, out io.Writer) error {
	for _, x := range sides {
		if err := x.build(ctx, s, dir); err != nil {
			return fmt.Errorf("%s: %w", x.name, err)
		}
	}
	for round := 1; round <= s.rounds; round++ {
		fmt.Fprintf(out, "round %d of %d\n", round, s.rounds)
		for i := range sides { // who goes first changes, so that a drift of the machine hits both
			if err := sides[(i+round)%2].run(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// programs measures both programs in one run of this tree's suite: against the same broker, in turn.
func programs(ctx context.Context, s *settings, sides []*side, dir string, out io.Writer) error {
	suite := filepath.Join(dir, "suite")
	if err := do(ctx, ".", "go", "build", "-o", suite, "./bench/suite/cmd/suite"); err != nil {
		return err
	}
	var bins []string
	for _, x := range sides {
		bins = append(bins, filepath.Join(dir, x.name+"-ingest"))
		if err := do(ctx, x.tree, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bins[len(bins)-1], "./cmd/ingest"); err != nil {
			return err
		}
	}
	args := append([]string{"-benchfmt", "-rounds", strconv.Itoa(s.rounds), "-against", bins[0], "-binary", bins[1]}, strings.Fields(s.scenarios)...)
	cmd := exec.CommandContext(ctx, suite, args...)
	cmd.Stderr = os.Stderr
	results, err := cmd.Output()
	if err != nil {
		return err
	}
	if s.keep != "" {
		dir = s.keep
	}
	file := filepath.Join(dir, "suite.txt")
	if err := os.WriteFile(file, results, 0o644); err != nil {
		return err
	}
	return stat(ctx, out, "-col", "/target", file)
}

// side is one of the two commits.
type side struct {
	name, tree string
	commands   []*exec.Cmd // without their output
	results    bytes.Buffer
}

// build makes what is run in each round.
func (x *side) build(ctx context.Context, s *settings, dir string) error {
	for i, p := range strings.Fields(s.packages) {
		bin := filepath.Join(dir, fmt.Sprintf("%s-%d.test", x.name, i))
		if err := do(ctx, x.tree, "go", "test", "-c", "-o", bin, p); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, bin, "-test.run=^$", "-test.bench="+s.bench, "-test.benchtime="+s.benchtime)
		cmd.Dir = filepath.Join(x.tree, p)
		x.commands = append(x.commands, cmd)
	}
	return nil
}

// run runs everything once.
func (x *side) run(ctx context.Context) error {
	for _, c := range x.commands {
		cmd := exec.CommandContext(ctx, c.Path, c.Args[1:]...)
		cmd.Dir, cmd.Stdout = c.Dir, &x.results
		var said bytes.Buffer
		cmd.Stderr = &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, said.Bytes())
		}
	}
	return nil
}

// judge lets benchstat compare the two sides.
func judge(ctx context.Context, s *settings, sides []*side, dir string, out io.Writer) error {
	if s.keep != "" {
		dir = s.keep
	}
	var args []string
	for _, x := range sides {
		file := filepath.Join(dir, x.name+".txt")
		if err := os.WriteFile(file, x.results.Bytes(), 0o644); err != nil {
			return err
		}
		args = append(args, x.name+"="+file)
	}
	return stat(ctx, out, args...)
}

// stat runs benchstat.
func stat(ctx context.Context, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", benchstat}, args...)...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	return cmd.Run()
}

func do(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
