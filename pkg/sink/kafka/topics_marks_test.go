package kafka

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Each topic that got records has the marks of the whole sequence, the final one too; one that got none has none.
func TestEachTopicHasMarks(t *testing.T) {
	c := cluster(t, 1, kfake.SeedTopics(1, "t2"), kfake.SeedTopics(1, "t3"))
	s := start(t, c, func(cfg *Config, d *Deps) {
		threeTopics(cfg, d)
		cfg.Headers, cfg.MarkInterval = HeadersStandard, time.Hour
	})
	spread(t, s, 0, 100, 2, nil)
	closeSink(t, s)
	for _, name := range []string{"t", "t2"} {
		recs := consume(t, c, name, 101)
		var m Mark
		if err := json.Unmarshal(recs[100].Value, &m); err != nil || !m.Final || m.Numbers != 200 {
			t.Errorf("%s ends with %s", name, recs[100].Value)
		}
	}
	if end := s.Stats(); end.Delivered != 200 {
		t.Errorf("%+v", end)
	}
	if n := c.LeaderFor("t3", 0); n < 0 {
		t.Fatal("t3 has gone")
	}
}

// Periodic marks go to the topics that got records since the last one.
func TestPeriodicMarksGoWhereRecordsWent(t *testing.T) {
	c := cluster(t, 1, kfake.SeedTopics(1, "t2"), kfake.SeedTopics(1, "t3"))
	s := start(t, c, func(cfg *Config, d *Deps) {
		threeTopics(cfg, d)
		cfg.Headers, cfg.MarkInterval = HeadersStandard, time.Nanosecond
	})
	waitFor(t, func() bool { return s.Ready() == nil })
	spread(t, s, 0, 10, 1, nil)
	spread(t, s, 10, 1, 2, nil)
	spread(t, s, 11, 10, 1, nil)
	closeSink(t, s)
	if recs := consume(t, c, "t2", 3); header(recs[1], HeaderMark) != MarkPeriodic || header(recs[2], HeaderMark) != MarkFinal {
		t.Errorf("%v, %v", recs[1].Headers, recs[2].Headers)
	}
}

// A topic that gets partitions keeps the order of its keys; the others have nothing to do with it.
func TestOneOfSeveralTopicsGrows(t *testing.T) {
	t.Parallel()
	c := cluster(t, 2, kfake.SeedTopics(2, "t2"), kfake.SeedTopics(2, "t3"))
	s := start(t, c, func(cfg *Config, d *Deps) { threeTopics(cfg, d); quickLooks(cfg, d) })
	want := spread(t, s, 0, 200, 3, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreatePartitions(patient(t), 3, "t2"); err != nil {
		t.Fatal(err)
	}
	i := 200
	waitFor(t, func() bool {
		want = joined(want, spread(t, s, i, 10, 3, nil))
		i += 10
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.topics[1].lanes) == 5
	})
	want = joined(want, spread(t, s, i, 100, 3, nil))
	closeSink(t, s)
	for topic, name := range three {
		checkGrown(t, consume(t, c, name, i+100), want[topic])
	}
	if len(s.topics[0].lanes) != 2 || len(s.topics[2].lanes) != 2 {
		t.Error("the others have grown")
	}
}

// checkGrown is checkKeyed for a topic that has grown: the records of a key in one partition come before those in another.
func checkGrown(t *testing.T, recs []*kgo.Record, want map[string][]string) {
	t.Helper()
	type at struct {
		key       string
		partition int32
	}
	parts := map[at][]string{}
	for _, r := range recs {
		p := at{string(r.Key), r.Partition}
		parts[p] = append(parts[p], string(r.Value))
	}
	for key, list := range want {
		for len(list) > 0 {
			found := false
			for p, got := range parts {
				if p.key == key && len(got) > 0 && len(got) <= len(list) && slices.Equal(got, list[:len(got)]) {
					list, found = list[len(got):], true
					delete(parts, p)
					break
				}
			}
			if !found {
				t.Fatalf("key %s: nothing continues with %s", key, list[0])
			}
		}
	}
}

// Every topic is made where that is wanted, and looked at before.
func TestEachTopicIsMadeAndProbed(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	var cfg Config
	s := start(t, c, func(k *Config, d *Deps) {
		threeTopics(k, d)
		quickLooks(k, d)
		k.CreateTopic, k.TopicPartitions = true, 2
		cfg = *k
	})
	waitFor(t, func() bool { return s.Ready() == nil })
	want := spread(t, s, 0, 50, 3, nil)
	closeSink(t, s)
	for i, name := range three {
		checkKeyed(t, consume(t, c, name, 50), want[i])
	}
	cfg.MoreTopics = append(cfg.MoreTopics, "t4")
	p := Probe(patient(t), cfg, Deps{})
	if len(p.Topics) != 4 || p.Topics[1].Partitions != 2 || p.Topics[2].Err != nil || !IsMissing(p.Topics[3].Err) {
		t.Errorf("%+v", p.Topics)
	}
}

func TestTopicsThatAreTheSameAreRefused(t *testing.T) {
	for _, more := range [][]string{{"t"}, {"a", "a"}, {""}, {"t.dlq"}} {
		if err := (Config{Brokers: []string{"h:1"}, Topic: "t", MoreTopics: more}).Validate(); err == nil {
			t.Errorf("%q", more)
		}
	}
}
