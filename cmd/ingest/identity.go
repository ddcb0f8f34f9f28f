package main

import (
	"os"

	"functiongraph-ingest/internal/pipeline"
)

// machine tells this machine from others: a process that is restored elsewhere from a snapshot finds another host name
// or another boot id.
func machine() string {
	name, _ := os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // where there is none the name must do
	return name + "\n" + string(boot)
}

// watchMachine has the identity renewed when the process turns out to be a copy. instance is the name that was set, or
// the host name.
func watchMachine(deps *pipeline.Deps, seen *sinkView, instance string) {
	deps.Machine = machine
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
