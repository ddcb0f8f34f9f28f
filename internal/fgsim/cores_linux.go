package fgsim

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// one is the set of one core.
func one(core int) *unix.CPUSet {
	set := new(unix.CPUSet)
	set.Set(core)
	return set
}

// pin lets a thread, 0 for this one, run on the given cores only.
func pin(tid int, set *unix.CPUSet) error {
	if err := unix.SchedSetaffinity(tid, set); err != nil {
		return fmt.Errorf("pin thread %d: %w", tid, err)
	}
	return nil
}

// leaveCore chooses the first core that this process may run on and moves all its threads to the others,
// until back is called. Threads that are started meanwhile inherit that. With an error the core is chosen,
// but not left.
func leaveCore() (core int, back func(), err error) {
	back = func() {}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return 0, back, err
	}
	for !all.IsSet(core) {
		core++
	}
	others := all
	others.Clear(core)
	if others.Count() == 0 {
		return core, back, errors.New("there is one core only")
	}
	return core, func() { _ = pinAll(&all) }, pinAll(&others)
}

// pinAll pins all threads of this process.
func pinAll(set *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := pin(tid, set); err != nil && !errors.Is(err, syscall.ESRCH) { // it has just ended
			return err
		}
	}
	return nil
}
