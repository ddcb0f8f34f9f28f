package suite

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"functiongraph-ingest/test/kafkatest"
)

// Machine is where and of what a report was made.
type Machine struct {
	Time   time.Time `json:"time"`
	CPU    string    `json:"cpu"`
	Cores  int       `json:"cores"`
	Memory string    `json:"memory"`
	OS     string    `json:"os"`
	Kernel string    `json:"kernel"`
	Go     string    `json:"go"`
	Kafka  string    `json:"kafka"`
	Commit string    `json:"commit"`
	// Load is how many other programs wanted to run in the last minute before the start.
	Load string `json:"loadAverage"`
	Note string `json:"note,omitempty"`
}

// ThisMachine looks at the machine.
func ThisMachine() Machine {
	return Machine{
		Time: time.Now().UTC().Truncate(time.Second), CPU: line("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(),
		Memory: line("/proc/meminfo", "MemTotal"), OS: runtime.GOOS + "/" + runtime.GOARCH, Kernel: first("/proc/sys/kernel/osrelease"),
		Go: runtime.Version(), Kafka: kafkatest.Version(), Commit: commit(), Load: first("/proc/loadavg"),
	}
}

func (m *Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, Linux %s %s, %s, Apache Kafka %s, commit %s, %s",
		m.CPU, m.Cores, m.Memory, m.Kernel, m.OS, m.Go, m.Kafka, m.Commit, m.Time.Format("2006-01-02 15:04 UTC"))
}

func line(file, name string) string {
	text, _ := os.ReadFile(file)
	for l := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(l, name); ok {
			return strings.TrimLeft(strings.TrimSpace(rest), ": ")
		}
	}
	return runtime.GOARCH
}

func first(file string) string {
	text, _ := os.ReadFile(file)
	word, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return word
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
