package metrics

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// statusLines are what the kernel tells of the process: lines of /proc/self/status (proc_pid_status(5)), where sizes
// are in KiB, and the descriptors.
var statusLines = [...]struct {
	line, name string
	unit       int64
	help       string
}{
	{"VmRSS:", "process_resident_memory_bytes", 1 << 10, "Resident memory: what --memory-limit promises."},
	{"VmHWM:", "process_resident_memory_peak_bytes", 1 << 10, "Peak of the resident memory."},
	{"RssAnon:", "process_resident_memory_anon_bytes", 1 << 10, "Resident memory without mapped files."},
	{"VmSize:", "process_virtual_memory_bytes", 1 << 10, "Virtual memory."},
	{"Threads:", "process_num_threads", 1, "Threads of the system."},
	{"", openFiles, 1, "Open file descriptors."},
	{"", maxFiles, 1, "File descriptors at most: a crowd of connections may run out of them."},
}

const (
	openFiles = "process_open_fds"
	maxFiles  = "process_max_fds"
)

// processStatus reads the lines by name; what cannot be read is missing.
func processStatus() map[string]int64 {
	found := map[string]int64{}
	status, _ := os.ReadFile("/proc/self/status") // not where /proc is not mounted
	for _, s := range statusLines {
		i := bytes.Index(status, []byte("\n"+s.line))
		if i < 0 || s.line == "" {
			continue
		}
		line, _, _ := bytes.Cut(status[i+1+len(s.line):], []byte("\n"))
		line = bytes.TrimSuffix(bytes.TrimSpace(line), []byte(" kB"))
		if n, err := strconv.ParseInt(string(line), 10, 64); err == nil {
			found[s.name] = n * s.unit
		}
	}
	if d, err := os.Open("/proc/self/fd"); err == nil {
		names, _ := d.Readdirnames(-1)
		d.Close()
		found[openFiles] = max(0, int64(len(names))-1) // without the one that reads
	}
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		found[maxFiles] = int64(min(l.Cur, 1<<62))
	}
	return found
}
