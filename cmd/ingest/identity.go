package main

import (
	"os"
	"sync"

	"functiongraph-ingest/internal/pipeline"
)

// machine tells this machine from others: a process that is restored elsewhere from a snapshot finds another host name
// or another boot id. What cannot be read, for want of a descriptor, is what it was; where there is no boot id the name
// must do.
type machine struct {
	hostname func() (string, error)
	read     func(path string) ([]byte, error)

	mu         sync.Mutex
	name, boot string
}

func (m *machine) tell() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name, err := m.hostname(); err == nil {
		m.name = name
	}
	if boot, err := m.read("/proc/sys/kernel/random/boot_id"); err == nil {
		m.boot = string(boot)
	}
	return m.name + "\n" + m.boot
}

// watchMachine has the identity renewed when the process turns out to be a copy. instance is the name that was set, or
// the host name.
func watchMachine(deps *pipeline.Deps, seen *sinkView, instance string) {
	deps.Machine = (&machine{hostname: os.Hostname, read: os.ReadFile}).tell
	was, _ := os.Hostname()
	if seen == nil || instance != was {
		return
	}
	deps.Renewed = func() {
		if name, err := os.Hostname(); err == nil && name != "" {
			seen.origin.instance(name)
		}
	}
}
