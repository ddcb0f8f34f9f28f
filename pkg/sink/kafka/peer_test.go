package kafka

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
)

// signpost is a dialler whose addresses all lead to one of two clusters.
type signpost struct {
	clusters [2]*kfake.Cluster
	now      atomic.Int32

	mu    sync.Mutex
	conns []net.Conn
}

// twoClusters are "old" and "new", both with a broker 0, a topic "t" and producer ids from 1 on.
func twoClusters(t *testing.T) *signpost {
	p := &signpost{clusters: [2]*kfake.Cluster{cluster(t, 1, kfake.ClusterID("old")), cluster(t, 1, kfake.ClusterID("new"))}}
	for _, c := range p.clusters {
		giveIDs(c, 1, 2)
	}
	return p
}

func (p *signpost) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, p.clusters[p.now.Load()].ListenAddrs()[0])
	if err == nil {
		p.mu.Lock()
		p.conns = append(p.conns, nc)
		p.mu.Unlock()
	}
	return nc, err
}

// move lets the addresses lead to a cluster, and ends all connections.
func (p *signpost) move(to int32) {
	p.now.Store(to)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, nc := range p.conns {
		nc.Close()
	}
	p.conns = nil
}

// TestAStampNeverMeetsAnotherCluster: the addresses lead to another cluster, and its connections work before the sink has
// seen metadata of it. A batch whose answer was lost must not go there under its old stamp: another producer has the
// same id, and the broker would take the batch for one of its batches.
func TestAStampNeverMeetsAnotherCluster(t *testing.T) {
	t.Parallel()
	p := twoClusters(t)
	var swallowed, looks, stamped atomic.Int32
	var seen atomic.Bool // the new cluster answers the sink's looks
	p.clusters[0].ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		p.clusters[0].KeepControl()
		swallowed.Add(1)
		return nil, errors.New("cut"), true
	})
	other := start(t, p.clusters[1], func(cfg *Config, _ *Deps) { cfg.Linger = time.Hour })
	other.Append(patient(t), []sink.Record{record("k", 0)}, nil) // the same time and size as the sink's
	other.Flush()
	closeSink(t, other)
	p.clusters[1].ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.clusters[1].KeepControl()
		looks.Add(1)
		if len(r.(*kmsg.MetadataRequest).Topics) == 0 || seen.Load() {
			return nil, nil, false
		}
		return nil, errors.New("cut"), true
	})
	p.clusters[1].ControlKey(0, func(kmsg.Request) (kmsg.Response, error, bool) {
		p.clusters[1].KeepControl()
		if !seen.Load() {
			stamped.Add(1)
		}
		return nil, nil, false
	})
	s := start(t, p.clusters[0], func(cfg *Config, d *Deps) {
		cfg.Brokers, cfg.Linger, d.Dial = []string{"kafka:9092"}, time.Hour, p.dial
	})
	var ack ackCount
	s.Append(patient(t), []sink.Record{record("k", 0)}, &ack)
	s.Flush()
	waitFor(t, func() bool { return swallowed.Load() > 0 })
	p.move(1)
	waitFor(t, func() bool { return stamped.Load() > 0 || looks.Load() > 4 })
	seen.Store(true)
	st := closeSink(t, s)
	ack.check(t, 0)
	if n := stamped.Load(); n > 0 {
		t.Errorf("%d requests with stamps of the old cluster went to the new one", n)
	}
	if st.Delivered != 1 || st.PossibleDuplicates != 1 {
		t.Errorf("stats %+v", st)
	}
	consume(t, p.clusters[1], "t", 2)
}

// TestAFailedProducerIDIsAnotherLook: nothing but the request for a producer id fails, and then the addresses lead to
// another cluster. What is known of the old one is asked for anew, though it is not old.
func TestAFailedProducerIDIsAnotherLook(t *testing.T) {
	p := &signpost{clusters: [2]*kfake.Cluster{cluster(t, 1, kfake.ClusterID("old")), cluster(t, 1, kfake.ClusterID("new"))}}
	var refused atomic.Int32
	p.clusters[0].ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		p.clusters[0].KeepControl()
		refused.Add(1)
		return nil, errors.New("cut"), true
	})
	s := start(t, p.clusters[0], func(cfg *Config, d *Deps) {
		cfg.Brokers, cfg.MetadataTTL, d.Dial = []string{"kafka:9092"}, time.Hour, p.dial
	})
	appendAll(t, s, 1, 1, nil)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.topics[0].keeps != timesUnknown }) // nothing else asks for a look
	before := refused.Load()
	waitFor(t, func() bool { return refused.Load() > before+1 })
	p.move(1)
	if st := closeSink(t, s); st.Delivered != 1 || st.PossibleDuplicates != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestRequestsStayInTheirCluster: connections are made, kept and used again while addresses move; a request that belongs
// to a cluster reaches only that one, in all orders.
func TestRequestsStayInTheirCluster(t *testing.T) {
	p := twoClusters(t)
	var got [2]atomic.Int32
	for i, c := range p.clusters {
		c.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			if r.GetVersion() > 0 { // version 0 is asked once for each connection
				got[i].Add(1)
			}
			return nil, nil, false
		})
	}
	cfg := Config{Brokers: []string{"kafka:9092"}, Topic: "t", RequestTimeout: time.Minute}
	cfg.setDefaults()
	n, err := newNetwork(&cfg, &Deps{Dial: p.dial})
	if err != nil {
		t.Fatal(err)
	}
	defer n.CloseIdleConnections()
	cl := &client{Transport: n, topics: []string{"t"}, timeout: time.Minute}
	if _, err := cl.metadata(patient(t)); err != nil {
		t.Fatal(err)
	}
	ids := []string{"old", "new"}
	for i, step := range []struct {
		broker int32
		leads  int32 // where new connections lead
		cut    bool  // the old ones end
		want   string
		err    error
	}{
		{0, 0, false, "old", nil}, {AnyBroker, 0, false, "old", nil}, {0, 0, false, "", nil},
		{0, 1, false, "old", nil}, {AnyBroker, 1, false, "old", nil}, // connections stay with their cluster
		{0, 1, true, "old", ErrOtherCluster}, {AnyBroker, 1, false, "old", ErrOtherCluster},
		{0, 1, false, "new", nil}, {AnyBroker, 1, false, "new", nil}, {0, 1, false, "", nil},
		{0, 0, false, "old", nil}, {AnyBroker, 0, false, "old", nil}, // no idle one of the other cluster is used
		{0, 0, false, "new", ErrOtherCluster}, {AnyBroker, 0, false, "new", ErrOtherCluster},
	} {
		if p.now.Store(step.leads); step.cut {
			p.move(step.leads)
			n.CloseIdleConnections()
		}
		before := [2]int32{got[0].Load(), got[1].Load()}
		_, err := n.RoundTrip(patient(t), Peer{step.broker, step.want}, &apiversions.Request{})
		if !errors.Is(err, step.err) {
			t.Fatalf("step %d, %+v: %v", i, step, err)
		}
		for c := range ids {
			if sent := got[c].Load() > before[c]; sent && step.want != "" && step.want != ids[c] {
				t.Errorf("step %d, %+v: the cluster %q got the request", i, step, ids[c])
			}
		}
	}
}

// TestLimitsOfAnotherCluster: a wrong address told small ones; then the addresses lead to a cluster that does not tell. It
// takes what the other one would not, and events are not taken for copies that it would recognise.
func TestLimitsOfAnotherCluster(t *testing.T) {
	p := twoClusters(t)
	tells(p.clusters[0], map[string]string{settingRequestBytes: "16384", settingExpiry: "1"})
	tells(p.clusters[1], nil)
	s := start(t, p.clusters[0], func(cfg *Config, d *Deps) {
		cfg.Brokers, cfg.MetadataTTL, d.Dial = []string{"kafka:9092"}, 20*time.Millisecond, p.dial
	})
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.expiry == time.Millisecond && s.topics[0].limit < 16384
	})
	p.move(1)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.clusterID == "new" })
	large := record("k", 0)
	noise := make([]byte, 20<<10)
	_, _ = rand.Read(noise)
	large.Value = fmt.Appendf(nil, `{"n":"%x"}`, noise)
	s.Append(patient(t), []sink.Record{large, large}, nil)
	st := closeSink(t, s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Delivered != 2 || s.expiry != defaultExpiry {
		t.Errorf("expiry %v, stats %+v", s.expiry, st)
	}
}

// tells has the brokers of c tell these settings of theirs; nil: they refuse to.
func tells(c *kfake.Cluster, settings map[string]string) {
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		r := req.(*kmsg.DescribeConfigsRequest)
		if r.Resources[0].ResourceType != kmsg.ConfigResourceTypeBroker {
			return nil, nil, false
		}
		res := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		res.Version = r.Version
		of := kmsg.DescribeConfigsResponseResource{ResourceType: kmsg.ConfigResourceTypeBroker}
		if settings == nil {
			of.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		}
		for name, value := range settings {
			of.Configs = append(of.Configs, kmsg.DescribeConfigsResponseResourceConfig{Name: name, Value: &value})
		}
		res.Resources = append(res.Resources, of)
		return res, nil, true
	})
}

// TestAConfiguredAddressIsAmongTheFirst: all brokers that the cluster has told may be gone, and a race has time for a few
// addresses that are silent.
func TestAConfiguredAddressIsAmongTheFirst(t *testing.T) {
	n := &network{bootstrap: []string{"b1:1", "b2:1"}, brokers: map[int32]string{}, idle: map[int32][]pooled{}, troubles: map[string]int{}}
	first := func() (at int) {
		return slices.IndexFunc(n.attempts(""), func(a attempt) bool { return slices.Contains(n.bootstrap, a.address) })
	}
	for i := range int32(200) {
		n.brokers[i] = fmt.Sprintf("10.0.0.%d:1", i)
	}
	n.served = n.brokers[7]
	for range 20 {
		if at := first(); at > 1 {
			t.Errorf("it is tried after %d others", at)
		}
	}
	n.troubles["b1:1"], n.troubles["b2:1"] = 100, 99
	if list := n.attempts(""); len(list) != mostAttempts || list[0].address != n.served || list[1].address != "b2:1" {
		t.Errorf("%+v", list[:2])
	}
	if n.brokers = map[int32]string{}; len(n.attempts("")) != 2 || first() != 0 {
		t.Errorf("%+v", n.attempts(""))
	}
}
