package faults

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/cutproxy"
	"functiongraph-ingest/test/kafkatest"
)

// away is how long a broker is away.
const away = 6 * time.Second

func oneBrokerRows() []row {
	return append([]row{
		{
			fault: "broker killed, back after 6 s", modes: everyMode, short: []mode{disk}, promise: everything,
			trouble: func(tr *trial) {
				must(tr, tr.kafka.Kill(0))
				tr.lasts(away)
				must(tr, tr.kafka.Restart(0))
			},
		},
		{
			fault: "broker frozen for 6 s", modes: everyMode, short: []mode{acceptSpool}, promise: everything,
			trouble: func(tr *trial) {
				must(tr, tr.kafka.Freeze(0))
				tr.lasts(away)
				must(tr, tr.kafka.Thaw(0))
			},
		},
		{
			fault: "every 20th answer cut", modes: everyMode, short: []mode{kafkaAck}, promise: everything, proxy: true,
			trouble: func(tr *trial) {
				tr.fleet.Set(cutproxy.Faults{Cut: 0.05, CutKeys: []int16{cutproxy.KeyProduce}})
				tr.lasts(away)
				tr.fleet.Set(cutproxy.Faults{})
			},
			check: func(tr *trial, r *result) {
				if r.DuplicatesSuppressed == 0 {
					tr.Error("no duplicate was suppressed: the cuts hit nothing")
				}
			},
		},
		{
			fault: "300 ms of latency each way for 6 s", modes: everyMode, promise: everything, proxy: true,
			trouble: func(tr *trial) {
				tr.fleet.Set(cutproxy.Faults{Latency: 300 * time.Millisecond})
				tr.lasts(away)
				tr.fleet.Set(cutproxy.Faults{})
			},
		},
		{
			fault: "100 kB/s of bandwidth for 6 s", modes: everyMode, short: []mode{disk}, promise: everything, proxy: true,
			trouble: func(tr *trial) {
				tr.fleet.Set(cutproxy.Faults{BytesPerSecond: 100_000})
				tr.lasts(away)
				tr.fleet.Set(cutproxy.Faults{})
			},
		},
		{
			fault: "4 partitions become 9", modes: everyMode, short: []mode{disk},
			promise: func(mode) promise { return promise{keysSplit: true} },
			args:    []string{"--metadata-ttl", "1s"},
			trouble: func(tr *trial) { must(tr, tr.kafka.AddPartitions(tr.topic, 9)) },
			check: func(tr *trial, r *result) {
				if r.SplitKeys == 0 {
					tr.Error("no key moved: the new partitions were not seen under load")
				}
			},
		},
		grownInAnOutage(),
		messageTooLarge(),
		topicDeleted(),
		{
			fault: "wrong password, right after 6 s", modes: everyMode, short: []mode{disk}, promise: everything, login: true, unready: true,
			trouble: func(tr *trial) {
				tr.lasts(away)
				want := http.StatusServiceUnavailable
				if tr.mode.spool && tr.mode.ack != "kafka" {
					want = http.StatusOK // the disk takes what comes
				}
				if status, body, err := tr.now().Get("/readyz"); err != nil || status != want {
					tr.Errorf("/readyz with a wrong password: %d %s %v, want %d", status, body, err, want)
				}
				if log := tr.now().Stderr(); strings.Count(log, `reason="the broker refuses the login"`) != 1 || !strings.Contains(log, "--sasl-password") {
					tr.Errorf("the log does not say once what to do about a wrong password:\n%s", log)
				}
				must(tr, tr.kafka.SetPassword(user, password))
				tr.Cleanup(func() { must(tr, tr.kafka.SetPassword(user, "another one")) })
			},
		},
	}, processRows()...)
}

// grownInAnOutage: the topic grows while frames are on disk. They keep their partitions, and an event that comes to
// another partition than its predecessors is appended after them.
func grownInAnOutage() row {
	return row{
		fault: "4 partitions become 9 with frames on disk", modes: spoolModes, short: []mode{acceptSpool}, proxy: true, endless: true,
		promise: func(mode) promise { return promise{keysSplit: true} },
		args:    []string{"--metadata-ttl", "1s", "--buffer-bytes", "4MiB"},
		topic:   map[string]string{"message.timestamp.type": "LogAppendTime"},
		trouble: func(tr *trial) {
			p := tr.fleet.Proxy(0)
			must(tr, p.Refuse(true))
			p.CutAll()
			if tr.mode != kafkaSpool { // waiting clients bring too little for the disk
				tr.await("frames on disk", func() bool {
					tr.look()
					return tr.now().last[`ingest_spool_state{state="overflow"}`] > 0
				})
			}
			must(tr, tr.kafka.AddPartitions(tr.topic, 9))
			must(tr, p.Refuse(false))
			tr.await("events in new partitions", func() bool {
				offsets, err := tr.kafka.EndOffsets(tr.topic)
				return err == nil && len(offsets) == 9 && slices.Max(offsets[4:]) > 10_000
			})
			tr.load.Stop()
		},
		check: func(tr *trial, r *result) {
			if r.SplitKeys == 0 {
				tr.Error("no key moved: the new partitions were not seen under load")
			}
			checkAppendOrder(tr, kafkatest.Kcat(tr, tr.kafka.Bootstrap(), tr.topic))
		},
	}
}

// checkAppendOrder looks at the times at which the broker appended the events of each key, over all partitions: a
// later event has no earlier time.
func checkAppendOrder(t testing.TB, messages []kafkatest.Message) {
	t.Helper()
	type event struct{ seq, at int64 }
	byKey := map[string][]event{}
	for _, m := range messages {
		var marks struct{ Seq string }
		must(t, json.Unmarshal(m.Value, &marks))
		seq, err := strconv.ParseInt(marks.Seq, 10, 64)
		must(t, err)
		byKey[string(m.Key)] = append(byKey[string(m.Key)], event{seq, m.Timestamp})
	}
	early := 0
	for _, events := range byKey {
		slices.SortFunc(events, func(a, b event) int { return cmp.Compare(a.seq, b.seq) })
		for i := 1; i < len(events); i++ {
			if events[i].at < events[i-1].at {
				early++
			}
		}
	}
	if len(byKey) == 0 || early > 0 {
		t.Errorf("%d of %d events were appended before their predecessors, %d keys", early, len(messages), len(byKey))
	}
}

// messageTooLarge: the topic takes less than a batch, so batches are split; some events are larger than
// it takes, and are dead letters.
func messageTooLarge() row {
	const events, size = 20, 150_000
	return row{
		fault: "batches and events too large for the topic", modes: everyMode, short: []mode{disk}, promise: everything,
		topic: map[string]string{"max.message.bytes": "20000"}, args: []string{"--codec", "none"},
		trouble: func(tr *trial) {
			for i := range events {
				body := fmt.Appendf(nil, `[{"name":"function","traceId":"large-%d","logs":"%s"}]`, i, bytes.Repeat([]byte("x"), size))
				tr.await("a large event taken", func() bool {
					res, err := http.Post(tr.now().URL("/"), "application/json", bytes.NewReader(body))
					must(tr, err)
					_ = res.Body.Close()
					return res.StatusCode == http.StatusOK
				})
			}
		},
		check: func(tr *trial, r *result) {
			if r.DeadLettered != events {
				tr.Errorf("%d dead letters, want %d", r.DeadLettered, events)
			}
			dead := kafkatest.Kcat(tr, tr.kafka.Bootstrap(), tr.topic+".dlq")
			if len(dead) != events {
				tr.Errorf("%d dead letters in the topic, want %d", len(dead), events)
			}
			for _, m := range dead {
				if len(m.Value) < size {
					tr.Errorf("a dead letter of %d bytes, want the whole event", len(m.Value))
				}
			}
		},
	}
}

// topicDeleted: what was delivered is read, then the topic is deleted, and made anew a few seconds into
// the load.
func topicDeleted() row {
	return row{
		fault: "topic deleted, made again after 6 s", modes: everyMode, short: []mode{kafkaSpool}, promise: everything,
		trouble: func(tr *trial) {
			tr.load.Wait()
			tr.settle()
			first := tr.judge.MustRead(tr, tr.kafka.Bootstrap(), tr.topic)
			must(tr, tr.kafka.DeleteTopic(tr.topic))
			tr.forget(first.Delivered)
			tr.post()
			tr.lasts(away)
			must(tr, tr.kafka.CreateTopic(tr.topic, 4, nil))
		},
	}
}

func threeBrokerRows() []row {
	return []row{
		{
			fault: "rolling restart of three brokers", modes: everyMode, short: []mode{disk}, promise: everything,
			topic: map[string]string{"min.insync.replicas": "2"}, events: 500_000,
			trouble: func(tr *trial) {
				for i := range tr.kafka.Brokers() {
					must(tr, tr.kafka.Stop(i))
					must(tr, tr.kafka.Restart(i))
					tr.inSync()
				}
			},
		},
		{
			fault: "a leader of three killed, back after 6 s", modes: everyMode, promise: everything,
			topic: map[string]string{"min.insync.replicas": "2"},
			trouble: func(tr *trial) {
				leaders, err := tr.kafka.Leaders(tr.topic)
				must(tr, err)
				must(tr, tr.kafka.Kill(leaders[0]))
				tr.lasts(away)
				must(tr, tr.kafka.Restart(leaders[0]))
				tr.inSync()
			},
		},
	}
}

func (tr *trial) inSync() {
	tr.Helper()
	ctx, cancel := context.WithTimeout(tr.Context(), patience)
	defer cancel()
	must(tr, tr.kafka.WaitInSync(ctx, tr.topic))
}

// forgottenRows: all answers to produce requests are swallowed for a moment, then nothing flows until the
// broker has forgotten the producer. What was in doubt is sent again and counted.
func forgottenRows() []row {
	return []row{{
		fault: "producer forgotten while in doubt", modes: everyMode, short: []mode{disk}, proxy: true,
		promise: func(mode) promise { return promise{doublesCounted: true} },
		trouble: func(tr *trial) {
			p := tr.fleet.Proxy(0)
			before := p.Stats().Cuts
			tr.fleet.Set(cutproxy.Faults{Cut: 1, CutKeys: []int16{cutproxy.KeyProduce}})
			tr.await("a cut", func() bool { return p.Stats().Cuts > before })
			must(tr, p.Refuse(true))
			p.CutAll()
			tr.lasts(away)
			tr.fleet.Set(cutproxy.Faults{})
			must(tr, p.Refuse(false))
		},
		check: func(tr *trial, r *result) {
			if r.PossibleDuplicates == 0 {
				tr.Error("no possible duplicate was counted")
			}
		},
	}}
}
