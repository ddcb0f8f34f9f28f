package proc_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

func stubOptions(t *testing.T) proc.Options {
	t.Helper()
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return proc.Options{Bin: bin, Args: []string{"-admin", "{admin}"}, Env: []string{stubVariable + "=1"}}
}

func TestLifeOfAProcess(t *testing.T) {
	p := proc.Start(t, stubOptions(t))
	if l := p.MustLedger(t); l.Admitted != 7 || l.DroppedTotal() != 1 || l.RefusedTotal() != 3 || l.Balance() != nil {
		t.Errorf("ledger %+v, %v", l, l.Balance())
	}
	m, err := p.Metrics()
	if err != nil || m["a"] != 1 || m[`b{reason="x y"}`] != 2500 {
		t.Errorf("metrics %v, %v", m, err)
	}
	sampler := p.SampleRSS(time.Millisecond)
	peak, err := p.PeakRSS()
	if err != nil || peak < 1<<20 || peak > 1<<30 {
		t.Errorf("PeakRSS = %d, %v", peak, err)
	}
	if _, err := p.CPU(); err != nil {
		t.Error(err)
	}
	if samples := sampler.Stop(); len(samples) == 0 || samples[0] < 1<<20 {
		t.Errorf("samples %v", samples)
	}
	if code, l := p.MustStop(t); code != 3 || l.Delivered != 5 {
		t.Errorf("exit %d, last ledger %+v", code, l)
	}
	if !strings.Contains(p.Stderr(), "draining") {
		t.Errorf("stderr %q", p.Stderr())
	}
}

func TestKillAndFreeze(t *testing.T) {
	p := proc.Start(t, stubOptions(t))
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	waitState(t, p.PID(), 'T')
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ledger(); err != nil {
		t.Errorf("after thaw: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	code, err := p.Wait(t.Context())
	if want := 128 + int(syscall.SIGKILL); err != nil || code != want {
		t.Errorf("Wait = %d, %v; want %d", code, err, want)
	}
	if _, err := p.LastLedger(); err == nil {
		t.Error("a killed process left a ledger")
	}
}

// waitState waits until the kernel shows the process in a state of /proc/PID/stat.
func waitState(t *testing.T, pid int, want byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if _, rest, _ := bytes.Cut(stat, []byte(") ")); len(rest) > 0 && rest[0] == want {
			return
		}
	}
	t.Fatalf("process %d never got into state %c", pid, want)
}

func TestAProcessThatDiesAtOnce(t *testing.T) {
	o := stubOptions(t)
	o.Args = []string{"-no-such-flag"}
	p := proc.StartUnready(t, o)
	if err := p.WaitReady(t.Context()); err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("WaitReady = %v, want what the process said", err)
	}
	if code, err := p.Wait(t.Context()); code != 2 || err != nil {
		t.Errorf("Wait = %d, %v", code, err)
	}
	if err := p.Terminate(); err != nil {
		t.Errorf("Terminate after the end: %v", err)
	}
}

func TestBuild(t *testing.T) {
	bin := proc.Build(t)
	if again := proc.Build(t); again != bin {
		t.Errorf("built twice: %s and %s", bin, again)
	}
	err := exec.Command(bin, "--help").Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
}
