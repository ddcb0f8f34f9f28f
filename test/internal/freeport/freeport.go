// Package freeport finds loopback ports for servers that are told their port and may be down for a
// while in a test.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The range lies below the ephemeral ports of the usual systems. A port out of the ephemeral range
// could be taken by any outgoing connection while its server is down, even by the very client that
// tries to reach the server.
const (
	first = 15000
	last  = 32000
	tries = 1000
)

// Take returns n different addresses "127.0.0.1:port" that nobody listened on a moment ago. Another
// process may still win the race for one of them; who gets "address in use" takes new ones.
func Take(n int) ([]string, error) {
	addrs := make([]string, 0, n)
	held := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for range tries {
		if len(addrs) == n {
			return addrs, nil
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		held = append(held, l) // held until all are found, so that they differ
		addrs = append(addrs, addr)
	}
	if len(addrs) == n {
		return addrs, nil
	}
	return nil, fmt.Errorf("no %d free ports on 127.0.0.1 between %d and %d after %d tries", n, first, last, tries)
}
