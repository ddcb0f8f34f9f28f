package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// clockTick is the unit of utime and stime in /proc/PID/stat: USER_HZ, 100 on every Linux.
const clockTick = 10 * time.Millisecond

// CPU is the user and system time of the process so far, in steps of 10 ms.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(p.procFile("stat"))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold anything.
	_, rest, ok := bytes.Cut(stat, []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("unexpected %s: %.100q", p.procFile("stat"), stat)
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// RSS is the resident memory of the process now, in bytes.
func (p *Process) RSS() (int64, error) { return p.status("VmRSS:") }

// PeakRSS is the highest resident memory the process ever had, in bytes.
func (p *Process) PeakRSS() (int64, error) { return p.status("VmHWM:") }

func (p *Process) status(name string) (int64, error) {
	status, err := os.ReadFile(p.procFile("status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in %s", name, p.procFile("status"))
}

func (p *Process) procFile(name string) string { return fmt.Sprintf("/proc/%d/%s", p.PID(), name) }

// Sampler records the resident memory of a process at intervals.
type Sampler struct {
	stop func() []int64
}

// SampleRSS starts to record the resident memory every interval. Stop must be called.
func (p *Process) SampleRSS(every time.Duration) *Sampler {
	var samples []int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			if rss, err := p.RSS(); err == nil {
				samples = append(samples, rss)
			}
			select {
			case <-tick.C:
			case <-done:
				return
			case <-p.child.Exited():
				return
			}
		}
	})
	return &Sampler{stop: sync.OnceValue(func() []int64 {
		close(done)
		wg.Wait()
		return samples
	})}
}

// Stop ends the recording and returns the samples in bytes, oldest first. Further calls return the same.
func (s *Sampler) Stop() []int64 { return s.stop() }
