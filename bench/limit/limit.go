// Package limit gives a process a fraction of a core, by a control group of its own: the kernel's quota, as
// containers and functions have it.
package limit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// periodMicros is how often the quota is given out: the kernel's and every container engine's default.
const periodMicros = 100_000

// Group is a control group for one process.
type Group struct {
	dir   string
	procs string
}

// New makes a group that may use so many cores. An error says that this machine does not let us.
func New(name string, cores float64) (*Group, error) {
	quota := fmt.Sprint(int(cores * periodMicros))
	var errs []error
	for _, parent := range parents() {
		g := &Group{dir: filepath.Join(parent, name), procs: filepath.Join(parent, name, "cgroup.procs")}
		if err := os.Mkdir(g.dir, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		err := write(g.dir, "cpu.max", quota+" "+fmt.Sprint(periodMicros)) // version 2
		if err != nil {
			err = errors.Join(write(g.dir, "cpu.cfs_period_us", fmt.Sprint(periodMicros)), write(g.dir, "cpu.cfs_quota_us", quota))
		}
		if err == nil {
			return g, nil
		}
		errs = append(errs, err, os.Remove(g.dir))
	}
	return nil, fmt.Errorf("no control group for CPU time: %w", errors.Join(errs...))
}

// Command returns the command line that runs another one within the group.
func (g *Group) Command(bin string, args ...string) (string, []string) {
	return "/bin/sh", append([]string{"-c", `echo $$ > "$0" && exec "$@"`, g.procs, bin}, args...)
}

// Throttled is how long the group has waited for its next quota, in microseconds, as far as the kernel says.
func (g *Group) Throttled() (micros int64) {
	stat, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(stat)) {
		var n int64
		if _, err := fmt.Sscanf(line, "throttled_usec %d", &n); err == nil {
			return n
		}
		if _, err := fmt.Sscanf(line, "throttled_time %d", &n); err == nil {
			return n / 1000
		}
	}
	return 0
}

// Close removes the group; its process must have ended.
func (g *Group) Close() error { return os.Remove(g.dir) }

func write(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0) // the kernel made it, or this is no control group
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// parents are the groups below which a new one may be made: this process's own, then the root, in each
// version's place.
func parents() (dirs []string) {
	own, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(own)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			dirs = append(dirs, filepath.Join("/sys/fs/cgroup", parts[2]))
		case strings.Contains(","+parts[1]+",", ",cpu,"):
			dirs = append(dirs, filepath.Join("/sys/fs/cgroup/cpu", parts[2]))
		}
	}
	return append(dirs, "/sys/fs/cgroup", "/sys/fs/cgroup/cpu")
}
