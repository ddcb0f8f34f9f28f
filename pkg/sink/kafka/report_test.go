package kafka

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// logged is a log that can be asked.
type logged struct {
	t  *testing.T
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Log(strings.TrimSpace(string(p)))
	return l.b.Write(p)
}

// lines are those that hold all of the words.
func (l *logged) lines(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.b.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

func (l *logged) to(d *Deps) { d.Logger = slog.New(slog.NewTextHandler(l, nil)) }

// deafBroker takes connections and never says a word.
func deafBroker(t *testing.T) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		for _, c := range conns {
			c.Close()
		}
	})
	return ln.Addr().String()
}

// answerProduce has every produce request answered with a code; the function it returns ends that.
func answerProduce(c *kfake.Cluster, code *kerr.Error) (mend func()) {
	var mu sync.Mutex
	on := true
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if !on {
			return nil, nil, false
		}
		return refuseAll(req.(*kmsg.ProduceRequest), code), nil, true
	})
	return func() { mu.Lock(); on = false; mu.Unlock() }
}

// refuseAll is an answer that has the code for each partition.
func refuseAll(req *kmsg.ProduceRequest, code *kerr.Error) *kmsg.ProduceResponse {
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// Whatever is wrong from the start, or later, is one warning that names the reason and the setting.
func TestTroubleIsToldWithItsRemedy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		setup func(t *testing.T, c *kfake.Cluster, cfg *Config, d *Deps) (mend func())
		dead  bool // a dead letter is in trouble, not an event
		words []string
		state sink.State
		again string // in the line about its end; "": it does not end
	}{
		{
			name: "nobody listens", words: []string{"no broker of", "--brokers", "connection refused"}, state: sink.Retrying,
			setup: func(_ *testing.T, _ *kfake.Cluster, cfg *Config, _ *Deps) func() {
				cfg.Brokers = []string{"127.0.0.1:1"}
				return nil
			},
		},
		{
			name: "an address that never answers", words: []string{"no broker of", "--brokers"}, state: sink.Retrying,
			setup: func(t *testing.T, _ *kfake.Cluster, cfg *Config, _ *Deps) func() {
				cfg.Brokers, cfg.RequestTimeout = []string{deafBroker(t)}, time.Hour
				return nil
			},
		},
		{
			name: "a name that is none", words: []string{"cannot be resolved", "--brokers"}, state: sink.Retrying,
			setup: func(_ *testing.T, _ *kfake.Cluster, _ *Config, d *Deps) func() {
				d.Dial = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "kafka.invalid", IsNotFound: true}}
				}
				return nil
			},
		},
		{
			name: "a missing topic", words: []string{"topic absent does not exist", "--create-topic"}, state: sink.Failed, again: "events reach Kafka again",
			setup: func(t *testing.T, c *kfake.Cluster, cfg *Config, _ *Deps) func() {
				cfg.Topic = "absent"
				return func() {
					req := kmsg.NewPtrCreateTopicsRequest()
					rt := kmsg.NewCreateTopicsRequestTopic()
					rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "absent", 1, 1
					req.Topics = append(req.Topics, rt)
					ask(t, c, req)
				}
			},
		},
		{
			name: "a topic that is made and not there yet", words: []string{"topic absent does not exist yet", "remedy=\"wait; if this lasts"}, state: sink.Retrying, again: "events reach Kafka again",
			setup: func(_ *testing.T, c *kfake.Cluster, cfg *Config, _ *Deps) func() {
				cfg.Topic, cfg.CreateTopic = "absent", true
				var mended atomic.Bool
				c.ControlKey(int16(kmsg.CreateTopics), func(req kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					if mended.Load() {
						return nil, nil, false
					}
					res := req.ResponseKind().(*kmsg.CreateTopicsResponse)
					rt := kmsg.NewCreateTopicsResponseTopic()
					rt.Topic = "absent"
					res.Topics = append(res.Topics, rt)
					return res, nil, true
				})
				return func() { mended.Store(true) }
			},
		},
		{
			name: "replicas", words: []string{"Not Enough Replicas [19]", "min.insync.replicas"}, state: sink.Retrying, again: "events reach Kafka again",
			setup: func(_ *testing.T, c *kfake.Cluster, _ *Config, _ *Deps) func() {
				return answerProduce(c, kerr.NotEnoughReplicas)
			},
		},
		{
			name: "WRITE revoked", words: []string{"access to topic t is denied", "grant", "WRITE"}, state: sink.Failed, again: "events reach Kafka again",
			setup: func(_ *testing.T, c *kfake.Cluster, _ *Config, _ *Deps) func() {
				return answerProduce(c, kerr.TopicAuthorizationFailed)
			},
		},
		{
			name: "storage", words: []string{"cannot write topic t to its disk"}, state: sink.Retrying, again: "events reach Kafka again",
			setup: func(_ *testing.T, c *kfake.Cluster, _ *Config, _ *Deps) func() {
				return answerProduce(c, kerr.KafkaStorageError)
			},
		},
		{
			name: "an error without a name", words: []string{"answers with an error", "[-1]"}, state: sink.Retrying, again: "events reach Kafka again",
			setup: func(_ *testing.T, c *kfake.Cluster, _ *Config, _ *Deps) func() {
				return answerProduce(c, kerr.UnknownServerError)
			},
		},
		{
			name: "requests without an answer", words: []string{"does not answer", "--request-timeout"}, state: sink.Retrying, again: "events reach Kafka again",
			setup: func(_ *testing.T, c *kfake.Cluster, cfg *Config, _ *Deps) func() {
				cfg.RequestTimeout = 8 * time.Second
				hold := make(chan struct{})
				c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					c.SleepControl(func() { <-hold })
					return nil, nil, false
				})
				return func() { close(hold) }
			},
		},
		{
			name: "a spool that cannot be opened", words: []string{"the spool cannot be used", "no such device", "--spool-dir"}, state: sink.Idle, again: "the spool can be used again",
			setup: func(t *testing.T, _ *kfake.Cluster, _ *Config, d *Deps) func() {
				good := openTestSpool(t, t.TempDir(), 1<<20)
				var mu sync.Mutex
				mended := false
				d.OpenSpool = func() (diskqueue.Spool, error) {
					mu.Lock()
					defer mu.Unlock()
					if !mended {
						return nil, errors.New("no such device")
					}
					return good()
				}
				return func() { mu.Lock(); mended = true; mu.Unlock() }
			},
		},
		{
			name: "a dead-letter topic that is denied", dead: true, words: []string{"dead letters do not reach their topic", "denied", "--dead-letter-topic", "waiting=1"},
			state: sink.Delivering, again: "dead letters reach their topic again",
			setup: func(_ *testing.T, c *kfake.Cluster, _ *Config, _ *Deps) func() {
				return answerProduce(c, kerr.TopicAuthorizationFailed)
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var log logged
			log.t = t
			var mend func()
			kf := cluster(t, 1)
			s := start(t, kf, func(cfg *Config, d *Deps) {
				log.to(d)
				cfg.MetadataTTL = 200 * time.Millisecond
				mend = c.setup(t, kf, cfg, d)
			})
			if c.dead {
				if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("x"), Reason: "bad_value"}, nil); err != nil {
					t.Fatal(err)
				}
			} else if c.state != sink.Idle {
				go s.Append(t.Context(), []sink.Record{record("k", 1)}, nil)
			}
			waitFor(t, func() bool { return log.lines(append(c.words, "level=WARN", "remedy=", "effect=")...) == 1 })
			if d := s.Delivery(); d.State != c.state {
				t.Errorf("state %v, want %v: %+v", d.State, c.state, d)
			}
			if c.state != sink.Idle && !c.dead && s.Ready() == nil {
				t.Error("ready though no event is acknowledged")
			}
			if c.again == "" {
				return
			}
			mend()
			waitFor(t, func() bool { return log.lines("level=INFO", c.again, "after=", "waited=") == 1 })
			if err := s.Ready(); err != nil {
				t.Errorf("not ready after the end: %v", err)
			}
			if n := log.lines("level=WARN", "remedy="); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
		})
	}
}

// A process that ends before the first warning says all the same why events are left.
func TestTheLastWord(t *testing.T) {
	var log logged
	log.t = t
	s := start(t, cluster(t, 1), func(cfg *Config, d *Deps) { log.to(d); cfg.Brokers = []string{"127.0.0.1:1"} })
	go s.DeadLetter(t.Context(), &sink.DeadLetter{Raw: []byte("x"), Reason: "bad_value"}, nil)
	waitFor(t, func() bool { return s.Stats().InFlight == 1 && s.Delivery().Trouble.Kind != "" })
	s.Close(ended())
	if log.lines("did not reach Kafka", "no broker of", "--brokers") != 1 {
		t.Error("no line says why")
	}
}

// ask sends one request to the cluster.
func ask(t *testing.T, c *kfake.Cluster, req kmsg.Request) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Request(patient(t), req); err != nil {
		t.Fatal(err)
	}
}

// TestEventsThatWereNotTakenAreTold: without a spool nothing can be appended before Kafka was reached. The events with which
// the caller waits are those that wait, and if the process ends before its first warning, one line says why they are lost.
func TestEventsThatWereNotTakenAreTold(t *testing.T) {
	t.Parallel()
	log := logged{t: t}
	s, err := New(Config{Brokers: []string{"127.0.0.1:1"}, Topic: "t"}, Deps{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	taken := make(chan error)
	go func() {
		_, err := s.Append(ctx, []sink.Record{record("k", 1), record("k", 2), record("k", 3)}, nil)
		taken <- err
	}()
	waitFor(t, func() bool { return s.Delivery().Waiting == 3 && s.Ready() != nil })
	end()
	if err := <-taken; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.cluster.view.found.kind != noTrouble })
	_ = s.Close(ended())
	// On a busy machine the first warning may come before the end.
	if log.lines("level=WARN", "not reach Kafka", "no broker of [127.0.0.1:1] answers", "--brokers", "waiting=3") != 1 {
		t.Error("want one line that says why 3 events are lost")
	}
}
