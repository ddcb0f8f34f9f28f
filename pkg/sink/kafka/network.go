package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"functiongraph-ingest/pkg/rawconn"
	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
)

const (
	idleLongest  = 5 * time.Minute // brokers end connections that were idle for 10 minutes
	controlUses  = 10              // of one connection; then another broker is asked, in case this one is behind
	raceSteps    = 8               // the next address is tried after this part of the timeout
	mostAttempts = 32              // in one race; the next one begins with the others
)

// network is the Transport over TCP: connections to brokers, each used by one request at a time.
//
// The addresses that are known are those that were configured and all that the last metadata answer told. A
// request for any broker goes over the connection that served the last one; without that, or when it does
// not answer within a fraction of the timeout, it goes to the next address as well, and the first good answer wins.
// So neither an address that is gone nor a broker that hangs costs more than that fraction, twice that in the middle of
// a long answer (see package wire), and the order remembers it. A request for one broker waits for that broker only.
type network struct {
	dialer    *wire.Dialer
	bootstrap []string
	timeout   time.Duration

	mu       sync.Mutex
	brokers  map[int32]string
	idle     map[int32][]pooled // by broker, the last used one at the end; AnyBroker: at most one
	troubles map[string]int     // failures in a row, by address
	served   string             // the address that answered the last request for any broker
	uses     int                // of the connection for any broker
	round    int                // raised by CloseIdleConnections: connections of an older one are not kept
}

// pooled is a connection with what tells whether it may be used again.
type pooled struct {
	*wire.Conn
	address string
	round   int
	since   time.Time
	cluster string // the id of the cluster at the other end; "": it has none, or was not asked
	asked   bool   // for its cluster
}

// belongs returns an error when the connection leads to another cluster than this one. It asks once: a connection
// stays with the broker that it was made to.
func (c *pooled) belongs(ctx context.Context, cluster string) error {
	if cluster != "" && !c.asked {
		m, err := c.RoundTrip(ctx, &metadata.Request{TopicNames: []string{}}) // of no topic
		if err != nil {
			return err
		}
		if err := c.told(m); err != nil {
			return err
		}
	}
	if c.other(cluster) {
		return fmt.Errorf("%s: %w (%.64q, not %.64q)", c.address, ErrOtherCluster, c.cluster, cluster)
	}
	return nil
}

// told takes the cluster's id over from an answer to a metadata request.
func (c *pooled) told(m protocol.Message) error {
	res, ok := m.(*metadata.Response)
	if !ok {
		return fmt.Errorf("kafka: unexpected answer %T to a metadata request", m)
	}
	if err := credible(res); err != nil {
		return fmt.Errorf("%s: %w", c.address, err)
	}
	c.cluster, c.asked = clusterOf(res), true
	return nil
}

// other reports whether the connection is known to lead to another cluster than this one.
func (c *pooled) other(cluster string) bool {
	return cluster != "" && c.cluster != "" && c.cluster != cluster
}

func newNetwork(c *Config, d *Deps) (*network, error) {
	mech, err := newLogin(c.SASL, d)
	if err != nil {
		return nil, err
	}
	dial := d.Dial
	if dial == nil {
		// An instance that was frozen wakes up with dead connections: find out within 30 s even when
		// no request is waiting on them.
		dial = (&rawconn.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
		}}).DialContext
	}
	return &network{
		dialer:    wire.NewDialer(wire.Config{Dial: dial, Secure: d.Secure, SASL: mech, ClientID: c.ClientID}),
		bootstrap: c.Brokers, timeout: c.RequestTimeout,
		idle: map[int32][]pooled{}, troubles: map[string]int{},
	}, nil
}

// RoundTrip implements Transport.
func (n *network) RoundTrip(ctx context.Context, to Peer, req protocol.Message) (protocol.Message, error) {
	if to.Broker == AnyBroker {
		return n.race(ctx, to.Cluster, req)
	}
	c, ok := n.take(to)
	if !ok {
		n.mu.Lock()
		address, known := n.brokers[to.Broker]
		round := n.round
		n.mu.Unlock()
		if !known {
			return nil, fmt.Errorf("the cluster has no broker %d now", to.Broker)
		}
		conn, err := n.dialer.Connect(ctx, address)
		if err != nil {
			return nil, err
		}
		c = pooled{Conn: conn, address: address, round: round}
	}
	if err := c.belongs(ctx, to.Cluster); err != nil {
		_ = c.Close()
		return nil, err
	}
	res, err := c.RoundTrip(ctx, req)
	n.put(to.Broker, c)
	return res, err
}

// CloseIdleConnections implements Transport.
func (n *network) CloseIdleConnections() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.round++
	for broker := range n.idle {
		n.drop(broker)
	}
}

// drop ends the idle connections to a broker. n.mu is held.
func (n *network) drop(broker int32) {
	for _, c := range n.idle[broker] {
		_ = c.Close()
	}
	delete(n.idle, broker)
}

// take returns an idle connection to a broker.
func (n *network) take(to Peer) (c pooled, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for !ok && len(n.idle[to.Broker]) > 0 {
		list := n.idle[to.Broker]
		c, n.idle[to.Broker] = list[len(list)-1], list[:len(list)-1]
		if ok = c.Usable(now) && now.Sub(c.since) < idleLongest && !c.other(to.Cluster); !ok {
			_ = c.Close()
		}
	}
	return c, ok
}

// put keeps a connection for the next request, or ends it.
func (n *network) put(broker int32, c pooled) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c.since = time.Now()
	keep := c.Usable(c.since) && c.round == n.round
	if broker == AnyBroker {
		keep = keep && len(n.idle[broker]) == 0
	} else {
		keep = keep && n.brokers[broker] == c.address
	}
	if !keep {
		_ = c.Close()
		return
	}
	n.idle[broker] = append(n.idle[broker], c)
}

// attempt is one address of a race, or the connection that served the last one.
type attempt struct {
	address string
	kept    bool // conn is it
	conn    pooled
}

// attempts returns what to try for a request to any broker of a cluster, in this order.
func (n *network) attempts(cluster string) []attempt {
	n.mu.Lock()
	fresh := n.uses < controlUses
	if !fresh {
		n.drop(AnyBroker)
		n.served, n.uses = "", 0
	}
	n.mu.Unlock()
	var list []attempt
	c, kept := n.take(Peer{AnyBroker, cluster})
	if kept {
		list = append(list, attempt{c.address, true, c})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, address := range n.addresses() {
		list = append(list, attempt{address: address})
	}
	order := list
	if kept {
		order = list[1:]
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	rank := func(a attempt) int {
		if a.address == n.served && !kept {
			return 2*n.troubles[a.address] - 1 // the one that answered last, unless it failed since
		}
		return 2 * n.troubles[a.address]
	}
	slices.SortStableFunc(order, func(a, b attempt) int { return cmp.Compare(rank(a), rank(b)) })
	// The second one was configured, if the first was not: all that the cluster told may be gone, and a race tries about
	// raceSteps addresses that are silent.
	if i := slices.IndexFunc(order, func(a attempt) bool { return slices.Contains(n.bootstrap, a.address) }); i > 1 {
		a := order[i]
		copy(order[2:i+1], order[1:i])
		order[1] = a
	}
	return list[:min(len(list), mostAttempts)]
}

// addresses returns all that are known. n.mu is held.
func (n *network) addresses() []string {
	list := slices.Clone(n.bootstrap)
	for _, address := range n.brokers {
		list = append(list, address)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// outcome is how an attempt ended.
type outcome struct {
	attempt int
	res     protocol.Message
	err     error
}

// race sends a request to one address after another until one answers well.
func (n *network) race(ctx context.Context, cluster string, req protocol.Message) (protocol.Message, error) {
	attempts := n.attempts(cluster)
	outcomes := make(chan outcome, len(attempts))
	var tasks sync.WaitGroup
	defer tasks.Wait() // those that lost end with ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	step := time.NewTimer(n.timeout / raceSteps)
	defer step.Stop()

	begun := 0
	begin := func() {
		if i := begun; i < len(attempts) {
			begun++
			tasks.Go(func() { outcomes <- n.try(ctx, i, attempts[i], cluster, req) })
			step.Reset(n.timeout / raceSteps)
		}
	}
	var errs raceError
	failed := make([]bool, len(attempts))
	for begin(); len(errs) < begun; {
		select {
		case o := <-outcomes:
			if o.err == nil {
				n.won(attempts, failed, o.attempt)
				return o.res, nil
			}
			failed[o.attempt] = true
			errs = append(errs, o.err)
			n.lost(attempts[o.attempt])
			begin()
		case <-step.C:
			begin()
		}
	}
	return nil, errs
}

// try is one attempt of a race.
func (n *network) try(ctx context.Context, i int, a attempt, cluster string, req protocol.Message) outcome {
	c := a.conn
	if !a.kept {
		n.mu.Lock()
		round := n.round
		n.mu.Unlock()
		conn, err := n.dialer.Connect(ctx, a.address)
		if err != nil {
			return outcome{i, nil, err}
		}
		c = pooled{Conn: conn, address: a.address, round: round}
	}
	if err := c.belongs(ctx, cluster); err != nil {
		_ = c.Close()
		return outcome{i, nil, err}
	}
	res, err := c.RoundTrip(ctx, req)
	if m, ok := res.(*metadata.Response); ok && err == nil {
		if err = c.told(m); err == nil {
			if err = n.learn(m); err != nil {
				err = fmt.Errorf("%s: %w", a.address, err)
			}
		}
		if err != nil {
			_ = c.Close()
			return outcome{i, nil, err}
		}
	}
	n.put(AnyBroker, c)
	return outcome{i, res, err}
}

// learn takes the brokers' addresses over from a credible answer.
func (n *network) learn(m *metadata.Response) error {
	if len(m.Brokers) == 0 {
		return errors.New("the broker knows of none yet, not even itself")
	}
	brokers := brokersOf(m)
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, address := range n.brokers {
		if brokers[id] != address {
			n.drop(id)
		}
	}
	n.brokers = brokers
	for address := range n.troubles {
		if !slices.Contains(n.addresses(), address) {
			delete(n.troubles, address)
		}
	}
	return nil
}

// won notes which broker answered, and which did not though they were asked before.
func (n *network) won(attempts []attempt, failed []bool, winner int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, a := range attempts[:winner] {
		if !failed[i] {
			n.troubles[a.address]++
		}
	}
	a := attempts[winner]
	delete(n.troubles, a.address)
	if n.served != a.address {
		n.served, n.uses = a.address, 0
	}
	n.uses++
}

// lost notes a failure. A connection that was kept may have been ended by the broker meanwhile: that tells nothing.
func (n *network) lost(a attempt) {
	if !a.kept {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.troubles[a.address]++
	}
}

// raceError is what all attempts came to.
type raceError []error

func (e raceError) Unwrap() []error { return e }

func (e raceError) Error() string {
	const most = 3
	text := ""
	for i, err := range e[:min(len(e), most)] {
		if i > 0 {
			text += "; "
		}
		text += err.Error()
	}
	if n := len(e) - most; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text
}
