// Command mutants puts deliberate mistakes into the delivery core, one at a time, and lets the simulation look for each: a
// promise that no mistake breaks is not tested. It runs from the root of the repository, prints a table, and ends with 1
// when a mistake is not found within its time, does not fit the code any more, or does not compile.
//
//	go run ./test/simulate/mutants [-only REGEXP] [-for 2m]
//
// The tree itself is not touched: the compiler reads the edited file through an overlay.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	only  = flag.String("only", "", "mutants whose name or fault matches this regular expression")
	limit = flag.Duration("for", 2*time.Minute, "time for each search")
	again = flag.Int("replay", 0, "replay each schedule that has shown a mistake so often; the traces must be the same")
	quick = flag.Uint64("native", 0, "look at so many schedules natively instead: much sooner, but what is found need not replay")
	keep  = flag.String("keep", "", "a directory for the mutants' binaries; empty: they are removed")
)

func main() {
	flag.Parse()
	h := &hunter{dir: *keep, wazero: "bin/wazero", cache: ".cache/wazero"}
	err := error(nil)
	if h.root, err = os.Getwd(); err == nil && h.dir == "" {
		h.dir, err = os.MkdirTemp("", "mutants")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	survived := h.run(regexp.MustCompile(*only))
	if *keep == "" {
		os.RemoveAll(h.dir)
	}
	if survived > 0 {
		fmt.Printf("%d mistakes were not found\n", survived)
		os.Exit(1)
	}
}

// hunter is where the search for a mistake takes place.
type hunter struct {
	root   string // of the repository; the working directory too
	dir    string // for files that are made
	wazero string // the program that runs a simulation's binary
	cache  string // its folder for compiled code
}

func (h *hunter) run(wanted *regexp.Regexp) (survived int) {
	fmt.Println("| mistake | fault | scenario | schedules until found | seconds | what was seen |")
	fmt.Println("|---|---|---|---|---|---|")
	for i := range mutants {
		m := &mutants[i]
		if !wanted.MatchString(m.name + ", " + m.fault) {
			continue
		}
		found, err := h.hunt(m)
		if err != nil {
			survived++
			fmt.Printf("| %s | %s | %s | NOT FOUND | | %v |\n", m.name, m.fault, m.scenario, err)
			continue
		}
		fmt.Printf("| %s | %s | %s | %d | %.0f | %s |\n", m.name, m.fault, m.scenario, found.seed, found.took.Seconds(), found.what)
	}
	return survived
}

// find is what the simulation has seen of a mistake.
type find struct {
	seed, block uint64 // the first schedule in which it was seen, and where its instance began
	took        time.Duration
	what        string
}

const (
	blockSize = 25
	unmutated = "bin/simulate.wasm"
)

// hunt builds the simulation with the mistake and runs it until it finds a violation that the code without the mistake
// does not have under the same seeds.
func (h *hunter) hunt(m *mutant) (*find, error) {
	wasm := filepath.Join(h.dir, strings.Map(fileName, m.name)+".wasm")
	if err := h.build(m, wasm); err != nil {
		return nil, err
	}
	if *keep == "" {
		defer os.Remove(wasm)
	}
	begun := time.Now()
	if *quick != 0 {
		return h.native(wasm, m.scenario, begun)
	}
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	for first := uint64(1); ; {
		f, last, err := h.search(ctx, wasm, m.scenario, first, 0)
		if err == nil && f == nil {
			err = errors.New(last)
		}
		if err != nil {
			return nil, err
		}
		f.took = time.Since(begun)
		control, _, err := h.search(context.Background(), unmutated, m.scenario, f.block, blockSize)
		if err != nil {
			return nil, err
		}
		if control == nil {
			return f, h.replay(wasm, m.scenario, f)
		}
		first = f.block + blockSize
	}
}

// replay runs a schedule again and again.
func (h *hunter) replay(wasm, scenario string, f *find) error {
	if *again == 0 {
		return nil
	}
	args := []string{"-wasm", wasm, "-scenario", scenario, "-replay", fmt.Sprint(f.seed), "-seed", fmt.Sprint(f.block), "-times", fmt.Sprint(*again)}
	out, err := exec.Command(h.wazero, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != 1) {
		return err
	}
	want := fmt.Sprintf("seed %d: %d of %d runs had the same trace, 1 violations", f.seed, *again, *again)
	if last := lastLine(out); last != want {
		return fmt.Errorf("replayed: %s", last)
	}
	return nil
}

func lastLine(out []byte) string {
	text := strings.TrimSpace(string(out))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// native runs a native binary, without a control.
func (h *hunter) native(binary, scenario string, begun time.Time) (*find, error) {
	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	out, _ := exec.CommandContext(ctx, binary, "-test.run=^TestSimulate$", "-sim.scenario="+scenario, "-sim.n="+fmt.Sprint(*quick)).CombinedOutput()
	if found := seen.FindSubmatch(out); found != nil {
		f := &find{took: time.Since(begun), what: shortened(string(found[2]))}
		f.seed, _ = strconv.ParseUint(string(found[1]), 10, 64)
		return f, nil
	}
	if dead := died.Find(out); dead != nil {
		return &find{took: time.Since(begun), what: shortened(string(dead))}, nil
	}
	return nil, fmt.Errorf("%d schedules: %s", *quick, shortened(lastLine(out)))
}

var (
	seen = regexp.MustCompile(`(?m)VIOLATION seed (\d+): (.*)`)
	died = regexp.MustCompile(`(?m)^(panic|fatal error): .*`)
)

var violation = regexp.MustCompile(`(?m)^seed (\d+): (.*)(?:\n[^\n]*)*?\n  replay: make simulate .*BLOCK=(\d+)$`)

// search runs n schedules, or without n as many as there is time for, until one breaks the promise. nil: none does; last
// is the last line of what was said.
func (h *hunter) search(ctx context.Context, wasm, scenario string, first, n uint64) (f *find, last string, err error) {
	args := []string{"-wasm", wasm, "-scenario", scenario, "-seed", fmt.Sprint(first), "-block", fmt.Sprint(blockSize), "-until"}
	if n != 0 {
		args = append(args, "-n", fmt.Sprint(n), "-cache", h.cache)
	} else {
		deadline, _ := ctx.Deadline()
		args = append(args, "-n", "1000000", "-for", max(time.Until(deadline), time.Second).String())
	}
	out, err := exec.Command(h.wazero, args...).Output()
	last = lastLine(out)
	found := violation.FindSubmatch(out)
	if found == nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
			err = nil
		}
		return nil, last, err
	}
	f = &find{what: shortened(string(found[2]))}
	f.seed, _ = strconv.ParseUint(string(found[1]), 10, 64)
	f.block, err = strconv.ParseUint(string(found[3]), 10, 64)
	return f, last, err
}

// build makes the simulation's binary with the mistake in it.
func (h *hunter) build(m *mutant, wasm string) error {
	edited, err := m.apply(h.root)
	if err != nil {
		return err
	}
	replace := map[string]string{}
	for path, source := range edited {
		to := filepath.Join(h.dir, "mutated-"+filepath.Base(path))
		if err := os.WriteFile(to, source, 0o600); err != nil {
			return err
		}
		replace[path] = to
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return err
	}
	overlay := filepath.Join(h.dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		return err
	}
	build := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", wasm, "./test/simulate")
	if build.Env = os.Environ(); *quick == 0 {
		build.Env = append(build.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("it does not compile: %s", out)
	}
	return nil
}

// apply returns the files that the mistake is in, with it.
func (m *mutant) apply(root string) (edited map[string][]byte, err error) {
	edited = map[string][]byte{}
	for _, e := range m.edits {
		if err := e.apply(root, edited); err != nil {
			return nil, err
		}
	}
	return edited, nil
}

func (e *edit) apply(root string, edited map[string][]byte) error {
	dir := e.dir
	if dir == "" {
		dir = "pkg/sink/kafka"
	}
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return err
	}
	old, err := pattern(e.old)
	if err != nil {
		return err
	}
	places := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source := edited[file]
		if source == nil {
			if source, err = os.ReadFile(file); err != nil {
				return err
			}
		}
		if n := len(old.FindAllIndex(source, -1)); n > 0 {
			places += n
			edited[file] = old.ReplaceAll(source, []byte(e.new))
		}
	}
	if places != 1 {
		return fmt.Errorf("%s has %d places for %q, want 1: bring test/simulate/mutants/list.go up to date", dir, places, e.old)
	}
	return nil
}

var (
	space    = regexp.MustCompile(`\s+`)
	variable = regexp.MustCompile(`\\\$([a-z])`)
)

// pattern is the regular expression of a mutant's old text: any white space matches any other, and $a to $z stand for the
// name of a variable or a field of one, such as a receiver.
func pattern(old string) (*regexp.Regexp, error) {
	p := space.ReplaceAllString(regexp.QuoteMeta(old), `\s+`)
	return regexp.Compile(variable.ReplaceAllString(p, `(?P<$1>\b[\w.]+)`))
}

func fileName(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// shortened is a violation's first words, as a cell of a table.
func shortened(violation string) string {
	violation = strings.ReplaceAll(violation, "|", "/")
	if r := []rune(violation); len(r) > 120 {
		return string(r[:120]) + "…"
	}
	return violation
}
