package cutproxy

import (
	"errors"
	"sync"
)

// Fleet is a set of proxies, one for each broker of a cluster. Its Advertise method fits
// kafkatest.WithAdvertise; clients that bootstrap at Cluster.Advertised then go through the proxies
// for ever.
type Fleet struct {
	seed uint64

	mu      sync.Mutex
	proxies []*Proxy // by broker index
}

// NewFleet returns an empty fleet whose proxies take their seeds from seed.
func NewFleet(seed uint64) *Fleet { return &Fleet{seed: seed} }

// Advertise makes the proxy for a broker, or turns the one it made before to the new target, and
// returns the proxy's address.
func (f *Fleet) Advertise(broker int, target string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.proxies) <= broker {
		f.proxies = append(f.proxies, nil)
	}
	if p := f.proxies[broker]; p != nil {
		p.SetTarget(target)
		return p.Addr(), nil
	}
	p, err := New(target, f.seed+uint64(broker))
	if err != nil {
		return "", err
	}
	f.proxies[broker] = p
	return p.Addr(), nil
}

// Proxy returns the proxy of a broker.
func (f *Fleet) Proxy(broker int) *Proxy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.proxies[broker]
}

// Set replaces the faults of all proxies.
func (f *Fleet) Set(faults Faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.proxies {
		p.Set(faults)
	}
}

// Close closes all proxies.
func (f *Fleet) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, p := range f.proxies {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
