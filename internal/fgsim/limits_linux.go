package fgsim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	cpuPeriod   = 100 * time.Millisecond
	removeTries = 50
)

// limits is a control group, or two of version 1, for the processes of a run.
type limits struct {
	dirs   []string // to remove
	memory string   // the one that counts kills for want of memory; "" for none
	text   string   // what is in force, for a human
}

// limit makes control groups for the wanted limits: of version 2 where it has the controllers, else of
// version 1. A system that lets us do neither is no error: text says so.
func limit(want Limits) *limits {
	l := new(limits)
	if want.Memory == 0 && want.CPU == 0 {
		l.text = "none"
		return l
	}
	err2 := l.version2(want)
	if err2 == nil {
		l.text = "cgroup v2: " + want.String()
		return l
	}
	l.remove()
	err1 := l.version1(want)
	if err1 == nil {
		l.text = "cgroup v1: " + want.String()
		return l
	}
	l.remove()
	*l = limits{text: fmt.Sprintf("NOT LIMITED to %s: %v; %v", want, err2, err1)}
	return l
}

// String is the limits in words.
func (l Limits) String() string {
	var parts []string
	if l.Memory > 0 {
		parts = append(parts, fmt.Sprintf("%.4g MiB", float64(l.Memory)/(1<<20)))
	}
	if l.CPU > 0 {
		parts = append(parts, fmt.Sprintf("%v cores", l.CPU))
	}
	return strings.Join(parts, ", ")
}

func groupName() string { return fmt.Sprintf("fgsim-%d-%d", os.Getpid(), time.Now().UnixNano()) }

func write(dir, file, value string) error {
	return os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644)
}

func (l *limits) make(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	l.dirs = append(l.dirs, dir)
	return nil
}

func (l *limits) version2(want Limits) error {
	root := "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err != nil {
		root += "/unified"
	}
	have, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return errors.New("no cgroup v2")
	}
	var need []string
	if want.Memory > 0 {
		need = append(need, "memory")
	}
	if want.CPU > 0 {
		need = append(need, "cpu")
	}
	for _, c := range need {
		if !strings.Contains(" "+strings.TrimSpace(string(have))+" ", " "+c+" ") {
			return fmt.Errorf("cgroup v2 has no %s controller", c)
		}
		if err := write(root, "cgroup.subtree_control", "+"+c); err != nil {
			return err
		}
	}
	dir := filepath.Join(root, groupName())
	if err := l.make(dir); err != nil {
		return err
	}
	if want.Memory > 0 {
		l.memory = filepath.Join(dir, "memory.events")
		_ = write(dir, "memory.swap.max", "0") // a system without swap has no such file
		if err := write(dir, "memory.max", strconv.FormatInt(int64(want.Memory), 10)); err != nil {
			return err
		}
	}
	if want.CPU > 0 {
		quota := int64(want.CPU * float64(cpuPeriod.Microseconds()))
		return write(dir, "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod.Microseconds()))
	}
	return nil
}

func (l *limits) version1(want Limits) error {
	if want.Memory > 0 {
		dir := filepath.Join("/sys/fs/cgroup/memory", groupName())
		if err := l.make(dir); err != nil {
			return err
		}
		l.memory = filepath.Join(dir, "memory.oom_control")
		if err := write(dir, "memory.limit_in_bytes", strconv.FormatInt(int64(want.Memory), 10)); err != nil {
			return err
		}
	}
	if want.CPU > 0 {
		dir := filepath.Join("/sys/fs/cgroup/cpu", groupName())
		if err := l.make(dir); err != nil {
			return err
		}
		quota := int64(want.CPU * float64(cpuPeriod.Microseconds()))
		return errors.Join(write(dir, "cpu.cfs_period_us", strconv.FormatInt(cpuPeriod.Microseconds(), 10)),
			write(dir, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)))
	}
	return nil
}

// wrap makes the command join the groups before it becomes what it is to be. That costs it one more exec, a
// millisecond or two.
func (l *limits) wrap(cmd *exec.Cmd) {
	if len(l.dirs) == 0 {
		return
	}
	var join strings.Builder
	for _, dir := range l.dirs {
		fmt.Fprintf(&join, "echo $$ > %s/cgroup.procs && ", dir)
	}
	args := append([]string{"/bin/sh", "-c", join.String() + `exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.Args = "/bin/sh", args
}

// kills is how many processes the kernel killed for want of memory.
func (l *limits) kills() int {
	text, err := os.ReadFile(l.memory)
	if l.memory == "" || err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			kills, _ := strconv.Atoi(strings.TrimSpace(n))
			return kills
		}
	}
	return 0
}

// remove takes the groups away when their processes are gone.
func (l *limits) remove() {
	for _, dir := range l.dirs {
		for range removeTries { // the kernel lets go of the last process a moment after it was reaped
			if err := os.Remove(dir); !errors.Is(err, syscall.EBUSY) {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	l.dirs = nil
}
