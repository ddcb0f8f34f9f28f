// Command wazero runs the simulation's test binary, built for GOOS=wasip1, where nothing is left to chance: one thread, a
// random source that is seeded, and a clock that only counts how often it was asked. So a seed replays exactly.
//
// An instance runs a block of seeds one after the other, because to start one takes as long as a schedule. The seed of
// its random source is the block's first seed: to replay a seed, its block is run up to it.
//
//	wazero -wasm bin/simulate.wasm -seed 1 -n 10000 -block 100 -j 2
//	wazero -wasm bin/simulate.wasm -replay 4711 -times 100
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

var (
	wasm     = flag.String("wasm", "bin/simulate.wasm", "the test binary")
	cache    = flag.String("cache", "", "a directory for compiled code; empty: none")
	seed     = flag.Uint64("seed", 1, "first seed")
	n        = flag.Uint64("n", 1000, "how many seeds")
	block    = flag.Uint64("block", 100, "seeds of one instance")
	jobs     = flag.Int("j", 2, "instances at one time")
	duration = flag.Duration("for", 0, "begin no new block after this time; 0: run all seeds")
	replay   = flag.Uint64("replay", 0, "replay this seed and print its trace")
	times    = flag.Int("times", 1, "with -replay: so often, and compare")
	scenario = flag.String("scenario", "everything", "the scenario")
	without  = flag.String("without", "", "families of trouble to leave out")
	until    = flag.Bool("until", false, "stop at the first violation, which is expected: end with 0 if there is one, and with 1 if there is none")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := newRunner(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	code := 0
	if *replay != 0 {
		code = r.replay(ctx)
	} else {
		code = r.sweep(ctx)
	}
	os.Exit(code)
}

// runner has the compiled binary.
type runner struct {
	rt   wazero.Runtime
	code wazero.CompiledModule
}

func newRunner(ctx context.Context) (*runner, error) {
	binary, err := os.ReadFile(*wasm)
	if err != nil {
		return nil, err
	}
	config := wazero.NewRuntimeConfigCompiler().WithMemoryLimitPages(8192).WithMemoryCapacityFromMax(true)
	if *cache != "" {
		c, err := wazero.NewCompilationCacheWithDir(*cache)
		if err != nil {
			return nil, err
		}
		config = config.WithCompilationCache(c)
	}
	r := &runner{rt: wazero.NewRuntimeWithConfig(ctx, config)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r.rt); err != nil {
		return nil, err
	}
	r.code, err = r.rt.CompileModule(ctx, binary)
	return r, err
}

// sieve keeps what an instance writes, without the lines of traces: they begin with a space. Those of the last seed are
// kept too, from the line on that is from.
type sieve struct {
	bytes.Buffer
	from string // "": none
	all  bool
	part []byte // of a line
}

func (s *sieve) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.part = append(s.part, p...)
			break
		}
		line := p[:i+1]
		if len(s.part) > 0 {
			s.part = append(s.part, line...)
			line = s.part
		}
		s.all = s.all || s.from != "" && string(bytes.TrimSpace(line)) == s.from
		if s.all || line[0] != ' ' {
			s.Buffer.Write(line)
		}
		s.part, p = s.part[:0], p[i+1:]
	}
	return n, nil
}

// result is one instance's end.
type result struct {
	out   string
	found []string // violations
	last  uint64   // the last seed that began
}

// random is a stream of bytes from a seed.
func random(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

// instance runs count seeds from first on. The random source's seed is base. It always writes traces: to write one allocates,
// the order of some maps depends on addresses, and so what happens would depend on whether someone looks. Without trace
// they are dropped here.
func (r *runner) instance(ctx context.Context, base, first, count uint64, trace bool) result {
	args := []string{"simulate", "-test.run=^TestSimulate$", "-test.timeout=0", "-sim.hashes", "-sim.v",
		"-sim.seed=" + strconv.FormatUint(first, 10), "-sim.n=" + strconv.FormatUint(count, 10), "-sim.scenario=" + *scenario, "-sim.without=" + *without}
	out := sieve{from: "seed " + strconv.FormatUint(first+count-1, 10)}
	if !trace {
		out.from = ""
	}
	var ticks int64
	config := wazero.NewModuleConfig().WithName("").WithArgs(args...).WithStdout(&out).WithStderr(&out).
		WithEnv("GOGC", "off"). // the binary collects between schedules
		WithRandSource(random(base)).
		WithNanotime(func() int64 { ticks += 20_000; return ticks }, sys.ClockResolution(20_000)).
		WithWalltime(func() (int64, int32) { return 1_700_000_000, 0 }, sys.ClockResolution(20_000)).
		WithNanosleep(func(ns int64) { ticks += ns })
	m, err := r.rt.InstantiateModule(ctx, r.code, config)
	if m != nil {
		m.Close(ctx)
	}
	res := result{out: out.String(), last: first}
	for line := range strings.Lines(res.out) {
		line = strings.TrimSpace(line)
		if num, ok := strings.CutPrefix(line, "seed "); ok && !strings.Contains(line, ":") {
			res.last, _ = strconv.ParseUint(num, 10, 64)
		}
		if i := strings.Index(line, "VIOLATION "); i >= 0 {
			res.found = append(res.found, line[i+len("VIOLATION "):])
		}
	}
	var exit *sys.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 0) && len(res.found) == 0 && ctx.Err() == nil {
		res.found = append(res.found, fmt.Sprintf("seed %d: the program ended: %s", res.last, firstLines(res.out)))
	}
	return res
}

// firstLines is the beginning of what a program that died had to say.
func firstLines(out string) string {
	i := max(strings.Index(out, "panic:"), strings.Index(out, "fatal error:"))
	if i < 0 {
		i = max(len(out)-2000, 0)
	}
	return out[i:min(i+3000, len(out))]
}

// sweep runs all seeds, in blocks.
func (r *runner) sweep(ctx context.Context) int {
	begun := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	blocks := make(chan uint64)
	var mu sync.Mutex
	var wg sync.WaitGroup
	done, found := uint64(0), 0
	for range *jobs {
		wg.Go(func() {
			for first := range blocks {
				// A schedule that ends the program takes the rest of its block with it: another instance goes on
				// behind it. Its random source begins anew, so the block's first seed is another one there.
				for end, base := min(first+*block, *seed+*n), first; base < end && ctx.Err() == nil; {
					res := r.instance(ctx, base, base, end-base, false)
					if ctx.Err() != nil {
						return
					}
					mu.Lock()
					done += res.last + 1 - base
					found += len(res.found)
					for _, v := range res.found {
						fmt.Printf("%s\n  replay: make simulate SEED=%s%s BLOCK=%d\n", v, seedOf(v), scenarioArg(), base)
					}
					mu.Unlock()
					if len(res.found) > 0 && *until {
						cancel()
					}
					base = res.last + 1
				}
			}
		})
	}
	for first := *seed; first < *seed+*n && ctx.Err() == nil && (*duration == 0 || time.Since(begun) < *duration); first += *block {
		select {
		case blocks <- first:
		case <-ctx.Done():
		}
	}
	close(blocks)
	wg.Wait()
	took := time.Since(begun)
	fmt.Printf("%d schedules in %v (%.0f an hour), %d violations\n", done, took.Round(time.Millisecond), float64(done)/took.Hours(), found)
	if (found > 0) != *until {
		return 1
	}
	return 0
}

func seedOf(violation string) string {
	_, rest, _ := strings.Cut(violation, "seed ")
	num, _, _ := strings.Cut(rest, ":")
	return num
}

func scenarioArg() string {
	if *scenario == "everything" {
		return ""
	}
	return " SCENARIO=" + *scenario
}

// replay runs one seed as its block does, and prints its trace.
func (r *runner) replay(ctx context.Context) int {
	base := *seed
	if base > *replay || *replay-base >= *block {
		base = *replay - (*replay-1)%*block
	}
	var first result
	same := 0
	for i := range *times {
		res := r.instance(ctx, base, base, *replay-base+1, true)
		if i == 0 {
			first = res
			fmt.Print(res.out)
		}
		if res.out == first.out {
			same++
		}
	}
	fmt.Printf("seed %d: %d of %d runs had the same trace, %d violations\n", *replay, same, *times, len(first.found))
	if same != *times || len(first.found) > 0 {
		return 1
	}
	return 0
}
