package fgsim

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what a group of processes uses.
type usage struct {
	rss      int64         // bytes, now
	peak     int64         // bytes: sum of the peaks of its processes
	cpu      time.Duration // of all threads that live
	switches int64         // context switches of all threads that live, voluntary and not
	threads  int
}

// members are the processes of the group that have not ended.
func (p *process) members() []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is good
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		// pid (name, which may hold anything) state ppid pgrp …
		end := bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[end+1:]))
		if end < 0 || len(fields) < 3 || fields[0] == "Z" || fields[0] == "X" || fields[2] != strconv.Itoa(p.group()) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// use measures the group. What ends while it is measured counts as nothing.
func (p *process) use() usage {
	var u usage
	for _, pid := range p.members() {
		status := statusOf(fmt.Sprintf("/proc/%d/status", pid))
		u.rss += status["VmRSS"] << 10
		u.peak += status["VmHWM"] << 10
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid)) // the pattern is good
		for _, task := range tasks {
			u.threads++
			status := statusOf(task + "/status")
			u.switches += status["voluntary_ctxt_switches"] + status["nonvoluntary_ctxt_switches"]
			// Time on the CPU in nanoseconds is the first field; /proc/PID/stat counts in steps of 10 ms.
			if text, err := os.ReadFile(task + "/schedstat"); err == nil {
				first, _, _ := strings.Cut(string(text), " ")
				ns, _ := strconv.ParseInt(first, 10, 64)
				u.cpu += time.Duration(ns)
			}
		}
	}
	return u
}

// statusOf reads the numbers of a status file; those with a unit are in KiB.
func statusOf(name string) map[string]int64 {
	text, _ := os.ReadFile(name) // a process that has ended has no numbers
	values := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
			if n, err := strconv.ParseInt(number, 10, 64); err == nil {
				values[key] = n
			}
		}
	}
	return values
}

// final adds what the kernel says about the first process and the children it waited for. Its peak of memory is
// left out: it begins with that of this process, in whose memory the child lives until its exec.
func (p *process) final(u usage) usage {
	if r, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.cpu = max(u.cpu, p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())
		u.switches = max(u.switches, int64(r.Nvcsw+r.Nivcsw))
	}
	return u
}
