package simulate

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
)

var (
	firstSeed = flag.Uint64("sim.seed", 1, "first seed")
	seeds     = flag.Uint64("sim.n", 20, "how many seeds")
	only      = flag.String("sim.scenario", "steady", "the scenario; everything: all families that are not withheld")
	verbose   = flag.Bool("sim.v", false, "print the trace of each schedule")
	keep      = flag.Bool("sim.keep", false, "print the trace of each schedule that finds a violation: natively its seed does not replay")
	hashes    = flag.Bool("sim.hashes", false, "print a hash of each trace")
	without   = flag.String("sim.without", "", "families to leave out")
)

// everything lets a seed choose freely.
var everything = scenario{name: "everything", may: allFamilies &^ withheld}

// TestSimulate runs some schedules natively. `make simulate` runs them where a seed replays.
func TestSimulate(t *testing.T) {
	sc := everything
	found := *only == sc.name
	for i := range scenarios {
		if scenarios[i].name == *only {
			sc, found = scenarios[i], true
		}
	}
	if !found {
		t.Fatalf("no scenario %q", *only)
	}
	for _, name := range strings.Fields(strings.ReplaceAll(*without, ",", " ")) {
		for i := range familyNames {
			if familyNames[i] == name {
				sc.may &^= 1 << i
			}
		}
	}
	dog := newWatchdog()
	defer close(dog.stop)
	var kept keptTrace
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		if *verbose || *hashes {
			fmt.Fprintln(os.Stderr, "seed", seed)
		}
		var trace io.Writer
		kept.Reset()
		if *verbose {
			trace = os.Stdout
		} else if *keep {
			trace = &kept
		}
		out := simulate(t, dog, seed, &sc, trace)
		if *hashes {
			fmt.Printf("seed %d: %016x, %d events\n", seed, out.hash, out.events)
		}
		if seed%8 == 0 {
			runtime.GC() // with GOGC=off: where it happens must not depend on what is printed
		}
		if out.bad != "" {
			_, _ = kept.WriteTo(os.Stdout)
			fmt.Printf("VIOLATION seed %d: %s; families:%v\n", seed, out.bad, out.prof.families)
			t.Fail()
		}
	}
}

// keptTrace is a trace that several goroutines write.
type keptTrace struct {
	mu sync.Mutex
	bytes.Buffer
}

func (k *keptTrace) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.Buffer.Write(p)
}
