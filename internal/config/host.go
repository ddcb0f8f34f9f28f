package config

import (
	"os"
	"strconv"
	"strings"
)

// Host is what defaults need to know about the machine or container.
type Host struct {
	Name        string  // host name
	MemoryBytes int64   // memory limit of the cgroup, else what the platform says the instance has; 0: none or not known
	UID         int     // effective user id
	CPUs        float64 // CPU quota of the cgroup in cores; 0: none or not known
	Descriptors int     // that the process may have open; 0: not known
}

// ReadHost asks the operating system. What cannot be read stays zero.
func ReadHost() Host {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "ingest"
	}
	memory := cgroupMemory("/sys/fs/cgroup")
	if memory == 0 {
		memory = runtimeMemory(os.Getenv("RUNTIME_MEMORY"))
	}
	return Host{Name: name, UID: os.Geteuid(), MemoryBytes: memory, CPUs: cgroupCPUs("/sys/fs/cgroup"), Descriptors: descriptors()}
}

// cgroupMemory reads the limit under root: version 2 in memory.max, version 1 in
// memory/memory.limit_in_bytes, where "no limit" is a number near 2^63.
func cgroupMemory(root string) int64 {
	const noLimit = 1 << 60
	for _, path := range []string{root + "/memory.max", root + "/memory/memory.limit_in_bytes"} {
		n, err := strconv.ParseInt(readLine(path), 10, 64)
		if err == nil && n > 0 && n < noLimit {
			return n
		}
	}
	return 0
}

// runtimeMemory reads RUNTIME_MEMORY, which FunctionGraph sets for runtimes: the memory of the instance in MB.
func runtimeMemory(s string) int64 {
	mb, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || mb <= 0 || mb > 1<<20 {
		return 0
	}
	return mb << 20
}

// cgroupCPUs reads quota and period, both in microseconds: version 2 in cpu.max ("max" is no limit),
// version 1 in two files (a quota of -1 is no limit).
func cgroupCPUs(root string) float64 {
	quota, period, ok := strings.Cut(readLine(root+"/cpu.max"), " ")
	if !ok {
		quota, period = readLine(root+"/cpu/cpu.cfs_quota_us"), readLine(root+"/cpu/cpu.cfs_period_us")
	}
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil || q <= 0 {
		return 0
	}
	p, err := strconv.ParseFloat(period, 64)
	if err != nil || p <= 0 {
		return 0
	}
	return q / p
}

func readLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
