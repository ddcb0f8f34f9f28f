package decode

import (
	"math"
	"strconv"
	"syscall"
	"testing"

	"functiongraph-ingest/internal/skiptest"
)

// A body that ends where readable memory ends: one byte too far is a fault that nothing can catch.
func TestBodyAtTheEndOfReadableMemory(t *testing.T) {
	page := syscall.Getpagesize()
	mem, err := syscall.Mmap(-1, 0, 2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(mem)
	if err := syscall.Mprotect(mem[page:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	for n := range 301 {
		bodiesOf(n, func(body []byte) {
			at := mem[page-n : page : page]
			copy(at, body)
			for _, o := range []Options{{}, {Lenient: true}, {NDJSON: true}} {
				run(t, at, o)
			}
		})
	}
}

func TestFourGigabytesAreRefused(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("no such body in a 32-bit address space")
	}
	size := uint64(math.MaxUint32) + 1
	body, err := syscall.Mmap(-1, 0, int(size), syscall.PROT_READ, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		skiptest.Missing(t, "no address space: %v", err)
	}
	defer syscall.Munmap(body)
	for _, o := range []Options{{}, {NDJSON: true}} {
		var d Decoder
		var e Event
		d.Reset(body, o)
		if !d.Next(&e) || e.Reason != TooLarge || uint64(len(e.Raw())) != size || e.Offset() != 0 {
			t.Fatalf("%v, %d bytes", e.Reason, len(e.Raw()))
		}
		if d.Next(&e) {
			t.Fatal("more than one region")
		}
	}
}
