package freeport_test

import (
	"net"
	"testing"

	"functiongraph-ingest/test/internal/freeport"
)

func TestTake(t *testing.T) {
	addrs, err := freeport.Take(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range addrs {
		if seen[a] {
			t.Errorf("%s twice", a)
		}
		seen[a] = true
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Errorf("not free: %v", err)
			continue
		}
		_ = l.Close()
	}
	if len(seen) != 20 {
		t.Errorf("%d addresses", len(seen))
	}
}
