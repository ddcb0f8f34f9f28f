package metrics

import (
	"bytes"
	"io"
	"os"
	"strconv"
)

// statusLines are the lines of /proc/self/status (proc_pid_status(5)) that are written, and how they are
// called. Sizes are in KiB there.
var statusLines = []struct {
	line, name string
	unit       int64
}{
	{"VmRSS:", "process_resident_memory_bytes", 1 << 10},
	{"VmHWM:", "process_resident_memory_peak_bytes", 1 << 10},
	{"RssAnon:", "process_resident_memory_anon_bytes", 1 << 10},
	{"VmSize:", "process_virtual_memory_bytes", 1 << 10},
	{"Threads:", "process_num_threads", 1},
}

// writeMemory writes what the kernel knows of the process; nothing where /proc is not mounted.
func writeMemory(w io.Writer) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return
	}
	for _, s := range statusLines {
		i := bytes.Index(status, []byte("\n"+s.line))
		if i < 0 {
			continue
		}
		line, _, _ := bytes.Cut(status[i+1+len(s.line):], []byte("\n"))
		line = bytes.TrimSuffix(bytes.TrimSpace(line), []byte(" kB"))
		if n, err := strconv.ParseInt(string(line), 10, 64); err == nil {
			gauge(w, s.name, n*s.unit)
		}
	}
}
