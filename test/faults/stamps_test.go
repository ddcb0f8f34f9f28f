package faults

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
	"functiongraph-ingest/test/cutproxy"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// The tests of this file are about batches that Kafka has confused with others: which producer id, epoch and sequence
// was given to which bytes (docs/adr/0027-stamps.md). Every event is a body of its own.

// TestStamps runs what needs one broker; each part has topics of its own.
func TestStamps(t *testing.T) {
	beside(t)
	l := newLab(t)
	for name, part := range map[string]func(*testing.T, *lab){
		"a spool that is opened late":             spoolOpenedLate,
		"a resend that is refused":                resendRefused,
		"a duplicate is answered with its time":   duplicateTime,
		"a late copy behind an epoch":             lateCopy,
		"two producers with one id":               twoProducers,
		"a topic that is changed to append times": appendTimes,
	} {
		t.Run(name, func(t *testing.T) { part(t, l) })
	}
}

// postOne posts one event and returns the status.
func postOne(t *testing.T, p *proc.Process, name string) int {
	t.Helper()
	client := http.Client{Timeout: patience}
	res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(event(name)))
	must(t, err)
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

func event(name string) string { return fmt.Sprintf(`{"traceId":"k","name":%q}`, name) }

// postAll posts events whose answers must be 200.
func postAll(t *testing.T, p *proc.Process, names ...string) {
	t.Helper()
	for _, name := range names {
		if code := postOne(t, p, name); code != http.StatusOK {
			t.Errorf("event %s is answered %d", name, code)
		}
	}
}

func numbered(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprint(prefix, i))
	}
	return names
}

// checkOnce reads a topic with kcat: every event is in it once, the given ones in their order, and at most doubles
// more copies.
func checkOnce(t *testing.T, bootstrap, topic string, doubles int, names ...string) {
	t.Helper()
	place := map[string]int{}
	for i, m := range kafkatest.Kcat(t, bootstrap, topic) {
		v := string(m.Value)
		if _, ok := place[v]; ok {
			doubles--
			continue
		}
		place[v] = i
	}
	last := -1
	for _, name := range names {
		at, ok := place[event(name)]
		if !ok {
			t.Errorf("event %s was answered 200 and is not in the topic", name)
		} else if at < last {
			t.Errorf("event %s is before its predecessor", name)
		} else {
			last = at
		}
	}
	if doubles < 0 {
		t.Errorf("%d more copies than were counted", -doubles)
	}
}

// inDoubt starts ingest with a spool, posts one event, and kills the process while its answer from Kafka is lost: the
// event is in the log, and in the spool as the frame in doubt.
func (l *lab) inDoubt(t *testing.T, bin, topic, dir, name string) *proc.Process {
	t.Helper()
	p := start(t, proc.Serve(bin, l.kafka.Advertised(), topic, "--ack", "disk", "--spool-dir", dir))
	cuts := l.fleet.Proxy(0).Stats().CutsByKey[cutproxy.KeyProduce]
	l.fleet.Set(cutproxy.Faults{Cut: 1, CutKeys: []int16{cutproxy.KeyProduce}})
	postAll(t, p, name)
	waitFor(t, "a lost answer", func() bool { return l.fleet.Proxy(0).Stats().CutsByKey[cutproxy.KeyProduce] > cuts })
	return p
}

// A frozen process holds the spool. An extension goes on without, sends, and opens the spool when the other process
// is gone: it finds a batch in doubt that has another producer's stamp.
func spoolOpenedLate(t *testing.T, l *lab) {
	bin, dir, topic := proc.Build(t), filepath.Join(t.TempDir(), "spool"), "late-spool"
	l.kafka.Topic(t, topic, 1, nil)
	old := l.inDoubt(t, bin, topic, dir, "old")
	must(t, old.Freeze())
	l.fleet.Proxy(0).CutAll()
	l.fleet.Set(cutproxy.Faults{})
	p := start(t, proc.Options{Bin: bin, Listen: platformPort(t), Args: []string{"extension", "--listen", "{listen}", "--admin", "{admin}"}, Env: []string{
		"INGEST_BROKERS=" + l.kafka.Advertised(), "INGEST_TOPIC=" + topic, "INGEST_SPOOL_DIR=" + dir, "INGEST_ACK=kafka",
	}})
	before := numbered("before-", 7)
	postAll(t, p, before...)
	must(t, old.Kill())
	p.WaitLedger(t, patience, "the old process's event", func(g *proc.Ledger) bool { return g.Recovered == 1 && g.Spooled == 0 && g.InFlight == 0 })
	after := numbered("after-", 7)
	postAll(t, p, after...)
	_, books := stop(t, p)
	if books.Delivered != 15 || books.DroppedTotal() != 0 || books.PossibleDuplicates != 0 {
		t.Errorf("ledger %+v", books)
	}
	checkOnce(t, l.kafka.Bootstrap(), topic, 0, append(before, after...)...)
	checkOnce(t, l.kafka.Bootstrap(), topic, 0, "old")
}

// platformPort is a free one of the ports that FunctionGraph takes for extensions.
func platformPort(t *testing.T) string {
	t.Helper()
	for port := 8090; port > 8080; port-- {
		addr := fmt.Sprint("127.0.0.1:", port)
		if nc, err := net.Listen("tcp", addr); err == nil {
			must(t, nc.Close())
			return addr
		}
	}
	t.Fatal("no port from 8081 to 8090 is free")
	return ""
}

// A batch is in the log, its answer is lost, and the topic's settings are changed so that the resend is refused. The
// batches behind it have as many records.
func resendRefused(t *testing.T, l *lab) {
	bin := proc.Build(t)
	for setting, value := range map[string]string{
		"message.timestamp.before.max.ms": "1",       // INVALID_TIMESTAMP
		"max.message.bytes":               "80",      // MESSAGE_TOO_LARGE
		"cleanup.policy":                  "compact", // INVALID_RECORD: the event has no key
	} {
		t.Run(setting, func(t *testing.T) {
			topic := topicName("refused", setting)
			l.kafka.Topic(t, topic, 1, nil)
			was := topicSetting(t, l, topic, setting)
			p := start(t, proc.Serve(bin, l.kafka.Advertised(), topic, "--codec", "none"))
			proxy := l.fleet.Proxy(0)
			cuts := proxy.Stats().CutsByKey[cutproxy.KeyProduce]
			l.fleet.Set(cutproxy.Faults{Cut: 1, CutKeys: []int16{cutproxy.KeyProduce}})
			keyless := func(name string) string { return fmt.Sprintf(`{"name":%q}`, name) }
			first := make(chan error, 1)
			go func() {
				res, err := http.Post(p.URL("/"), "application/json", strings.NewReader(keyless("first")))
				if err == nil {
					res.Body.Close()
				}
				first <- err
			}()
			waitFor(t, "a lost answer", func() bool { return proxy.Stats().CutsByKey[cutproxy.KeyProduce] > cuts })
			must(t, proxy.Refuse(true))
			proxy.CutAll()
			setTopic(t, l, topic, setting, value)
			l.fleet.Set(cutproxy.Faults{})
			must(t, proxy.Refuse(false))
			must(t, <-first)
			setTopic(t, l, topic, setting, was)
			later := numbered("later-", 7)
			for _, name := range later {
				res, err := http.Post(p.URL("/"), "application/json", strings.NewReader(keyless(name)))
				must(t, err)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("event %s is answered %d", name, res.StatusCode)
				}
			}
			_, books := stop(t, p)
			if books.Delivered+books.DeadLettered != 8 || books.DroppedTotal() != 0 || books.PossibleDuplicates != 1 {
				t.Errorf("ledger %+v", books)
			}
			in := map[string]int{}
			for _, m := range kafkatest.Kcat(t, l.kafka.Bootstrap(), topic) {
				in[string(m.Value)]++
			}
			for _, name := range later {
				if in[keyless(name)] != 1 {
					t.Errorf("event %s is in the topic %d times", name, in[keyless(name)])
				}
			}
			if n := in[keyless("first")]; n < 1 || n > 2 {
				t.Errorf("the first event is in the topic %d times", n)
			}
		})
	}
}

func topicSetting(t *testing.T, l *lab, topic, name string) string {
	t.Helper()
	var value string
	withAdmin(t, l.kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		rs, err := a.DescribeTopicConfigs(ctx, topic)
		if err != nil {
			return err
		}
		r, err := rs.On(topic, nil)
		for _, c := range r.Configs {
			if c.Key == name {
				value = c.MaybeValue()
			}
		}
		return err
	})
	return value
}

func setTopic(t *testing.T, l *lab, topic, name, value string) {
	t.Helper()
	withAdmin(t, l.kafka.Bootstrap(), func(ctx context.Context, a *kadm.Client) error {
		rs, err := a.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
		if err == nil {
			_, err = rs.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
		}
		return err
	})
	waitFor(t, "the new setting", func() bool { return topicSetting(t, l, topic, name) == value })
}

func withAdmin(t *testing.T, bootstrap string, f func(context.Context, *kadm.Client) error) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(bootstrap, ",")...))
	must(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(t, f(ctx, kadm.NewClient(cl)))
}

// The cluster is made anew behind the same address, and producer ids begin again there.
func TestARebuiltCluster(t *testing.T) {
	beside(t)
	l := newLab(t)
	bin, dir, topic := proc.Build(t), filepath.Join(t.TempDir(), "spool"), "rebuilt"
	l.kafka.Topic(t, topic, 1, nil)
	running := start(t, proc.Serve(bin, l.kafka.Advertised(), topic))
	postAll(t, running, numbered("old-", 3)...)
	old := l.inDoubt(t, bin, topic, dir, "doubt")
	must(t, old.Kill())
	must(t, l.kafka.Kill(0))

	// Another cluster, at the same address for who comes through the proxy.
	fresh := newLab(t)
	fresh.kafka.Topic(t, topic, 1, nil)
	l.fleet.Proxy(0).CutAll()
	l.fleet.Proxy(0).SetTarget(fresh.kafka.Bootstrap())
	l.fleet.Set(cutproxy.Faults{})
	others := start(t, proc.Serve(bin, fresh.kafka.Advertised(), topic))
	postAll(t, others, numbered("others-", 4)...)
	thirds := start(t, proc.Serve(bin, fresh.kafka.Advertised(), topic))
	postAll(t, thirds, numbered("thirds-", 2)...)

	postAll(t, running, numbered("new-", 5)...)
	again := start(t, proc.Serve(bin, fresh.kafka.Advertised(), topic, "--ack", "disk", "--spool-dir", dir))
	postAll(t, again, numbered("again-", 3)...)
	again.WaitLedger(t, patience, "all of the spool", func(g *proc.Ledger) bool { return g.Recovered == 1 && g.Spooled == 0 && g.InFlight == 0 })
	_, books := stop(t, again)
	if books.Delivered != 4 || books.PossibleDuplicates != 1 {
		t.Errorf("ledger of the process with the old spool: %+v", books)
	}
	_, books = stop(t, running)
	if books.Delivered != 8 || books.DroppedTotal() != 0 {
		t.Errorf("ledger of the process that has seen both clusters: %+v", books)
	}
	for _, names := range [][]string{numbered("new-", 5), numbered("again-", 3), {"doubt"}} {
		checkOnce(t, fresh.kafka.Bootstrap(), topic, 0, names...)
	}
}

// recorder keeps the produce requests that a sink sends.
type recorder struct {
	mu       sync.Mutex
	requests [][]byte
	cut      bool // lose the answers
}

func (r *recorder) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &recorded{Conn: nc, r: r}, nil
}

type recorded struct {
	net.Conn
	r       *recorder
	produce bool
}

// Write keeps produce requests. Small ones are one write each.
func (c *recorded) Write(p []byte) (int, error) {
	if len(p) > 8 && p[4] == 0 && p[5] == cutproxy.KeyProduce && int(binary.BigEndian.Uint32(p)) == len(p)-4 {
		c.r.mu.Lock()
		c.r.requests = append(c.r.requests, append([]byte(nil), p...))
		c.produce = c.r.cut
		c.r.mu.Unlock()
	}
	return c.Conn.Write(p)
}

func (c *recorded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.produce {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// last is the last produce request, or nil.
func (r *recorder) last() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.requests) == 0 {
		return nil
	}
	return r.requests[len(r.requests)-1]
}

// resend sends a produce request over a connection of its own and returns the error code and append time of the
// answer, which has one topic of one partition.
func resend(t *testing.T, addr string, request []byte) (code int16, appendTime int64) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", addr, patience)
	must(t, err)
	defer nc.Close()
	must(t, nc.SetDeadline(time.Now().Add(patience)))
	_, err = nc.Write(request)
	must(t, err)
	var size [4]byte
	_, err = io.ReadFull(nc, size[:])
	must(t, err)
	p := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(nc, p)
	must(t, err)
	// Produce answer, versions 2 to 8: correlation id, topics, name, partitions, index, code, offset, append time.
	p = p[4+4:]
	p = p[2+binary.BigEndian.Uint16(p)+4+4:]
	return int16(binary.BigEndian.Uint16(p)), int64(binary.BigEndian.Uint64(p[2+8:]))
}

func recordedSink(t *testing.T, l *lab, topic string, edit func(*kafka.Config)) (*kafka.Sink, *recorder) {
	t.Helper()
	r := &recorder{}
	cfg := kafka.Config{Brokers: []string{l.kafka.Bootstrap()}, Topic: topic, Linger: time.Millisecond, RequestTimeout: 5 * time.Second}
	if edit != nil {
		edit(&cfg)
	}
	s, err := kafka.New(cfg, kafka.Deps{Logger: quiet(), Dial: r.dial})
	must(t, err)
	t.Cleanup(func() { s.Close(context.Background()) })
	return s, r
}

func appendOne(t *testing.T, s *kafka.Sink, name string) {
	t.Helper()
	_, err := s.Append(t.Context(), []sink.Record{{Key: []byte("k"), Value: []byte(event(name)), Timestamp: time.Now().UnixMilli()}}, nil)
	must(t, err)
}

// What pkg/sink/kafka relies on to notice a producer id that two producers have: a duplicate is answered with
// the maximum timestamp of the batch in the log.
func duplicateTime(t *testing.T, l *lab) {
	l.kafka.Topic(t, "times", 1, nil)
	s, r := recordedSink(t, l, "times", nil)
	const then = 1_700_000_000_123
	for i := range 3 {
		_, err := s.Append(t.Context(), []sink.Record{
			{Key: []byte("k"), Value: []byte("a"), Timestamp: then + int64(i)}, {Key: []byte("k"), Value: []byte("b"), Timestamp: then + 7},
		}, nil)
		must(t, err)
		waitFor(t, "delivery", func() bool { return s.Stats().Delivered == int64(2*i+2) })
		code, at := resend(t, l.kafka.Bootstrap(), r.last())
		if code != 0 || at != then+7 {
			t.Errorf("a duplicate is answered with code %d and append time %d", code, at)
		}
	}
	if n, err := l.kafka.Count("times"); err != nil || n != 6 {
		t.Errorf("%d records, %v", n, err)
	}
}

// The answer to a batch is lost, the batch is taken apart, and a copy of the first request arrives late. Kafka must
// refuse it.
func lateCopy(t *testing.T, l *lab) {
	topic := "late-copy"
	l.kafka.Topic(t, topic, 1, map[string]string{"max.message.bytes": "200"})
	s, r := recordedSink(t, l, topic, func(c *kafka.Config) { c.Linger = time.Hour })
	for _, name := range numbered("a-", 6) { // more than 200 bytes together, and less each
		appendOne(t, s, name)
	}
	s.Flush()
	waitFor(t, "delivery", func() bool { return s.Stats().Delivered == 6 })
	r.mu.Lock()
	first := r.requests[0]
	r.mu.Unlock()
	setTopic(t, l, topic, "max.message.bytes", strconv.Itoa(1<<20))
	if code, _ := resend(t, l.kafka.Bootstrap(), first); code != 47 {
		t.Errorf("a late copy is answered with %d, not with INVALID_PRODUCER_EPOCH", code)
	}
	checkOnce(t, l.kafka.Bootstrap(), topic, 0, numbered("a-", 6)...)
}

// Two processes have the same producer id, as a snapshot that is restored twice would. Neither may take the other's
// events for its own.
func twoProducers(t *testing.T, l *lab) {
	topic := "clones"
	l.kafka.Topic(t, topic, 1, nil)
	a, ra := recordedSink(t, l, topic, nil)
	appendOne(t, a, "a-0")
	waitFor(t, "delivery", func() bool { return a.Stats().Delivered == 1 })
	request := ra.last()
	// What the clone would send: the same stamps with other bytes. A batch of one record with the id of a goes to
	// the broker as if from the clone; then a sends its next one under the same sequence.
	clone := append([]byte(nil), request...)
	restamp(t, clone, 1)
	if code, at := resend(t, l.kafka.Bootstrap(), clone); code != 0 || at >= 0 {
		t.Fatalf("the clone's batch is answered with code %d and append time %d", code, at)
	}
	for i := 1; i <= 6; i++ {
		appendOne(t, a, fmt.Sprint("a-", i))
		waitFor(t, "delivery", func() bool { return a.Stats().Delivered == int64(i+1) })
	}
	if n := a.Metrics().Collisions; n != 1 {
		t.Errorf("%d collisions", n)
	}
	checkOnce(t, l.kafka.Bootstrap(), topic, 1, numbered("a-", 7)...)
}

// Every answer to an append has an append time from then on. At most what is under way is sent twice, and counted.
func appendTimes(t *testing.T, l *lab) {
	topic := "append-times"
	l.kafka.Topic(t, topic, 1, nil)
	s, _ := recordedSink(t, l, topic, nil)
	names := numbered("a-", 8)
	for i, name := range names {
		if i == 2 {
			setTopic(t, l, topic, "message.timestamp.type", "LogAppendTime")
		}
		appendOne(t, s, name)
		waitFor(t, "delivery", func() bool { return s.Stats().Delivered == int64(i+1) })
	}
	if n := s.Stats().PossibleDuplicates; n > 1 {
		t.Errorf("%d possible duplicates", n)
	}
	checkOnce(t, l.kafka.Bootstrap(), topic, int(s.Stats().PossibleDuplicates), names...)
}

// restamp gives the only batch of a produce request another base sequence, and a checksum that fits.
func restamp(t *testing.T, request []byte, seq uint32) {
	t.Helper()
	at := bytes.Index(request, []byte{0xff, 0xff, 0xff, 0xff, 2}) // partition leader epoch, magic
	if at < 12 {
		t.Fatal("no batch in the request")
	}
	batch := request[at-12:]
	batch = batch[:12+binary.BigEndian.Uint32(batch[8:])]
	binary.BigEndian.PutUint32(batch[53:], seq)
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
}
