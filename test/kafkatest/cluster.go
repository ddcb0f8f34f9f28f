// Package kafkatest runs a real Apache Kafka for tests and benchmarks: one or more brokers in KRaft
// mode as processes of this machine, on free loopback ports, with directories that vanish at the end.
//
// The jars come from Maven Central into a cache folder ($INGEST_CACHE, else functiongraph-ingest in the
// user's cache folder); later runs need no network. Brokers can be killed, stopped, frozen and
// started again under the same addresses. [Consume] and [Kcat] read topics with kcat, a consumer that
// shares no code with this project.
package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"functiongraph-ingest/test/internal/freeport"
)

const (
	startTimeout = 5 * time.Minute // a JVM on a machine that is busy with other tests
	stopTimeout  = 60 * time.Second
	startTries   = 3 // another process may take a port between the choice and the start
)

// Cluster is a running Kafka. All methods are safe for concurrent use. Broker indices start at 0.
type Cluster struct {
	dir       string
	version   string
	brokers   []*broker
	old       bool       // brokers keep their state in ZooKeeper
	zooKeeper *zooKeeper // nil: not old

	closing sync.Once
	err     error
}

// StartCluster starts a cluster and returns when every broker answers a Metadata request and knows
// all the others. The caller must Close it. An error that wraps [ErrUnavailable] means that Java or
// Maven is missing.
func StartCluster(ctx context.Context, o Options) (*Cluster, error) {
	o.setDefaults()
	java, err := java()
	if err != nil {
		return nil, err
	}
	jars, err := jars(ctx, o.Version)
	if err != nil {
		return nil, err
	}
	for range startTries {
		var c *Cluster
		if c, err = startOnce(ctx, &o, java, jars); err == nil {
			return c, nil
		}
		if !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	return nil, err
}

func startOnce(ctx context.Context, o *Options, java, jars string) (_ *Cluster, err error) {
	dir, err := os.MkdirTemp(o.DataDir, "kafkatest-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, version: o.Version, old: needsZooKeeper(o.Version)}
	defer func() {
		if err != nil {
			_ = c.Close()
		}
	}()
	all, err := choosePorts(o)
	if err != nil {
		return nil, err
	}
	for i := range all {
		b, err := newBroker(o, i, all, java, jars, filepath.Join(dir, fmt.Sprint("broker-", i)))
		if err != nil {
			return nil, err
		}
		c.brokers = append(c.brokers, b)
	}
	if c.old {
		if c.zooKeeper, err = startZooKeeper(all[0].controller, java, jars, filepath.Join(dir, "zookeeper")); err != nil {
			return nil, err
		}
	} else if err := c.formatAll(ctx); err != nil {
		return nil, err
	}
	for _, b := range c.brokers {
		if err := b.start(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for i := range c.brokers {
		if err := c.WaitReady(ctx, i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func choosePorts(o *Options) ([]ports, error) {
	const each = 5
	free, err := freeport.Take(each * o.Brokers)
	if err != nil {
		return nil, err
	}
	all := make([]ports, o.Brokers)
	for i := range all {
		p := ports{direct: free[each*i], controller: free[each*i+1]}
		if o.Advertise != nil {
			p.proxied = free[each*i+2]
			if p.advertised, err = o.Advertise(i, p.proxied); err != nil {
				return nil, fmt.Errorf("advertise broker %d: %w", i, err)
			}
		}
		if o.SASL {
			p.sasl = free[each*i+3]
		}
		if o.Secure != nil {
			p.secure = free[each*i+4]
		}
		all[i] = p
	}
	return all, nil
}

func (c *Cluster) formatAll(ctx context.Context) error {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(raw[:])
	// A leading dash would be read as a flag by the storage tool.
	id = strings.Replace(id, "-", "A", 1)
	errs := make([]error, len(c.brokers))
	var wg sync.WaitGroup
	for i, b := range c.brokers {
		wg.Go(func() { errs[i] = b.format(ctx, id) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Bootstrap is the list of the brokers' direct addresses, separated by commas.
func (c *Cluster) Bootstrap() string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.direct
	}
	return strings.Join(addrs, ",")
}

// Advertised is the list of the addresses that Options.Advertise returned, separated by commas.
func (c *Cluster) Advertised() string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.advertised
	}
	return strings.Join(addrs, ",")
}

// SASL is the list of the addresses that ask for a login, separated by commas.
func (c *Cluster) SASL() string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.sasl
	}
	return strings.Join(addrs, ",")
}

// Secure is the list of the addresses that talk TLS, separated by commas.
func (c *Cluster) Secure() string {
	addrs := make([]string, len(c.brokers))
	for i, b := range c.brokers {
		addrs[i] = b.secure
	}
	return strings.Join(addrs, ",")
}

// Brokers is the number of brokers.
func (c *Cluster) Brokers() int { return len(c.brokers) }

// PID is the process id of broker i.
func (c *Cluster) PID(i int) int { return c.brokers[i].process().PID() }

// Kill ends broker i with SIGKILL.
func (c *Cluster) Kill(i int) error { return c.brokers[i].kill() }

// Stop ends broker i the clean way (SIGTERM) and waits for it; what does not end in a minute is killed.
func (c *Cluster) Stop(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := c.brokers[i].stop(ctx); err != nil {
		return errors.Join(err, c.brokers[i].kill())
	}
	return nil
}

// Restart starts broker i again after Kill or Stop, with the same addresses and directories, and
// waits until it is ready.
func (c *Cluster) Restart(i int) error {
	if err := c.brokers[i].start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return c.WaitReady(ctx, i)
}

// Freeze stops broker i in its tracks (SIGSTOP): its sockets stay open and nobody answers.
func (c *Cluster) Freeze(i int) error {
	c.brokers[i].frozen.Store(true)
	return c.brokers[i].signal(syscall.SIGSTOP)
}

// Thaw lets a frozen broker go on (SIGCONT).
func (c *Cluster) Thaw(i int) error {
	c.brokers[i].frozen.Store(false)
	return c.brokers[i].signal(syscall.SIGCONT)
}

// Log is the end of broker i's output.
func (c *Cluster) Log(i int) string { return c.brokers[i].lastWords() }

// Close kills all brokers and removes their directories. Kafka is not asked: nothing of it is kept.
func (c *Cluster) Close() error {
	c.closing.Do(func() {
		var errs []error
		for _, b := range c.brokers {
			errs = append(errs, b.kill())
		}
		if c.zooKeeper != nil {
			errs = append(errs, c.zooKeeper.Kill())
		}
		c.err = errors.Join(append(errs, os.RemoveAll(c.dir))...)
	})
	return c.err
}
