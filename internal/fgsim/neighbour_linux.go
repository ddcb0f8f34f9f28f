package fgsim

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// chunkRounds is a piece of the neighbour's work: some 10 us on a core of its own.
const chunkRounds = 10_000

// counter is a number in memory that two processes share: reading it costs the neighbour nothing.
type counter struct {
	memory []byte
}

func openCounter(file string) (*counter, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size := os.Getpagesize()
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", file, err)
	}
	return &counter{memory: memory}, nil
}

// value is the counter itself; the map begins at a page, so it is aligned.
func (c *counter) value() *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&c.memory[0])) }

func (c *counter) close() { _ = syscall.Munmap(c.memory) }

// RunNeighbour is the neighbour's process: it works without end and counts its work in a file. A program
// that has neighbours measured calls it when it is started with [Options].Neighbour and a file name.
func RunNeighbour(file string) error {
	c, err := openCounter(file)
	if err != nil {
		return err
	}
	for x := uint64(1); ; {
		for range chunkRounds {
			x = x*6364136223846793005 + 1442695040888963407
		}
		if x != 0 { // it never is: the work must not be optimised away
			c.value().Add(1)
		}
	}
}

// neighbour is the other process.
type neighbour struct {
	counter *counter
	process *process
}

func startNeighbour(command []string, dir string, l *limits, core int) (*neighbour, error) {
	file := filepath.Join(dir, "neighbour")
	c, err := openCounter(file)
	if err != nil {
		return nil, err
	}
	p, err := launch(exec.Command(command[0], append(command[1:len(command):len(command)], file)...), l, core, io.Discard)
	if err != nil {
		c.close()
		return nil, err
	}
	return &neighbour{counter: c, process: p}, nil
}

// during returns the neighbour's work per second while f runs.
func (n *neighbour) during(f func()) float64 {
	before, begun := n.counter.value().Load(), time.Now()
	f()
	return float64(n.counter.value().Load()-before) / time.Since(begun).Seconds()
}

func (n *neighbour) close() {
	n.process.kill()
	n.counter.close()
}
