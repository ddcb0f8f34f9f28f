package fgsim

import (
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"functiongraph-ingest/bench/hist"
)

const (
	// pieceRounds is a piece of the neighbour's work: some 1 ms on a core of its own, as much as a small request needs.
	pieceRounds = 1_000_000
	// pieces is how many of the last ones are remembered with the time they took: over four minutes, in 1 MiB.
	pieces = 1 << 18
)

// counter is memory that two processes share, so that reading it costs the neighbour nothing: the number of
// pieces done, and after its page how long each of the last ones took.
type counter struct {
	memory []byte
}

func openCounter(file string) (*counter, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size := os.Getpagesize() + 4*pieces
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

// took is how long piece i took, in nanoseconds, at most 4 s. It is written before the piece is counted.
func (c *counter) took(i uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&c.memory[os.Getpagesize()+4*int(i%pieces)]))
}

func (c *counter) close() { _ = syscall.Munmap(c.memory) }

// RunNeighbour is the neighbour's process: it works without end and counts its work in a file. A program
// that has neighbours measured calls it when it is started with [Options].Neighbour and a file name.
func RunNeighbour(file string) error {
	c, err := openCounter(file)
	if err != nil {
		return err
	}
	done := uint64(0)
	for x, begun := uint64(1), time.Now(); ; {
		for range pieceRounds {
			x = x*6364136223846793005 + 1442695040888963407
		}
		now := time.Now() // what lies between two pieces counts as well
		c.took(done).Store(uint32(min(now.Sub(begun), math.MaxUint32)))
		begun = now
		if done++; x != 0 { // it never is: the work must not be optimised away
			c.value().Store(done)
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

// during returns the neighbour's work per second while f runs, and adds what its pieces took to h.
func (n *neighbour) during(h *hist.Hist, f func()) float64 {
	before, begun := n.counter.value().Load(), time.Now()
	f()
	after, took := n.counter.value().Load(), time.Since(begun)
	for i := max(before, max(after, pieces)-pieces); i < after; i++ {
		h.Add(time.Duration(n.counter.took(i).Load()))
	}
	return float64(after-before) / took.Seconds()
}

func (n *neighbour) close() {
	n.process.kill()
	n.counter.close()
}
