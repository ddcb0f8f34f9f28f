package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// What --key and --timestamp promise, as a consumer sees it: events with the same key in one partition, in the order in
// which they were posted, with their own time.
func TestKeyAndTimestampInTheTopic(t *testing.T) {
	t.Parallel()
	k, bin := kafka(t), proc.Build(t)
	start := time.Now().UTC().Add(-time.Hour).Truncate(time.Millisecond)
	for _, tt := range []struct {
		topic string
		args  []string
		key   func(i int) string // of event i; "" for none
		time  func(i int) int64  // of event i; 0: not before the start of the test
	}{
		{"key-of-order", []string{"--key=order", "--timestamp=event"},
			func(i int) string { return fmt.Sprint(i % 7) }, func(i int) int64 { return start.UnixMilli() + int64(i) }},
		{"no-key", []string{"--key=off", "--keyless=instance", "--instance=one"}, func(int) string { return "" }, func(int) int64 { return 0 }},
	} {
		t.Run(tt.topic, func(t *testing.T) {
			k.Topic(t, tt.topic, 4, nil)
			begun := time.Now().UnixMilli()
			p := proc.Start(t, proc.Serve(bin, k.Bootstrap(), tt.topic, tt.args...))
			const bodies, each = 10, 30
			for b := range bodies {
				var events []string
				for i := b * each; i < (b+1)*each; i++ {
					events = append(events, fmt.Sprintf(`{"traceId":"t%d","order":%d,"n":"%06d","startTime":%q}`, i, i%7, i, start.Add(time.Duration(i)*time.Millisecond).Format("2006-01-02T15:04:05.000Z")))
				}
				if code, text := post(t, p, "application/json", []byte("["+strings.Join(events, ",")+"]")); code != 200 {
					t.Fatalf("%d %s", code, text)
				}
			}
			if code, l := p.MustStop(t); code != 0 || l.Delivered != bodies*each {
				t.Errorf("exit %d, %+v", code, l)
			}
			messages := kafkatest.Kcat(t, k.Bootstrap(), tt.topic)
			if len(messages) != bodies*each {
				t.Fatalf("%d records", len(messages))
			}
			partition, last := map[string]int{}, map[string]int{}
			for _, m := range messages { // of one partition in its order
				_, text, _ := strings.Cut(string(m.Value), `"n":"`)
				var n int
				if _, err := fmt.Sscanf(text, "%06d", &n); err != nil {
					t.Fatalf("%s: %v", m.Value, err)
				}
				key := string(m.Key)
				if key != tt.key(n) || (m.Key == nil) != (key == "") {
					t.Errorf("event %d has the key %q, want %q", n, m.Key, tt.key(n))
				}
				if at := tt.time(n); at != 0 && m.Timestamp != at || at == 0 && m.Timestamp < begun {
					t.Errorf("event %d has the time %d, want %d", n, m.Timestamp, at)
				}
				if before, known := last[key]; known && (before > n || partition[key] != m.Partition) {
					t.Errorf("event %d of key %q comes behind %d, in partition %d and %d", n, key, before, m.Partition, partition[key])
				}
				partition[key], last[key] = m.Partition, n
			}
		})
	}
}

// Events with a time that the topic does not take: they are delivered all the same, without a timestamp, and a header
// says which one they had. Their neighbours keep theirs.
func TestEventTimesThatTheTopicRefuses(t *testing.T) {
	t.Parallel()
	k, bin := kafka(t), proc.Build(t)
	const topic = "narrow"
	k.Topic(t, topic, 1, map[string]string{"message.timestamp.before.max.ms": "600000", "message.timestamp.after.max.ms": "60000"})
	now := time.Now().UTC().Truncate(time.Millisecond)
	p := proc.Start(t, proc.Serve(bin, k.Bootstrap(), topic, "--timestamp=event"))
	ages := []time.Duration{0, time.Hour, time.Minute, 23 * time.Hour, 5 * time.Minute, 2 * time.Hour, 0, -5 * time.Minute}
	var events []string
	for i, age := range ages {
		events = append(events, fmt.Sprintf(`{"traceId":"k","n":%d,"startTime":%q}`, i, now.Add(-age).Format("2006-01-02T15:04:05.000Z")))
	}
	if code, text := post(t, p, "application/json", []byte("["+strings.Join(events, ",")+"]")); code != 200 || text != "" {
		t.Fatalf("%d %s", code, text)
	}
	if code, l := p.MustStop(t); code != 0 || l.Delivered != int64(len(ages)) || l.DeadLettered != 0 {
		t.Errorf("exit %d, %+v", code, l)
	}
	messages := kafkatest.Kcat(t, k.Bootstrap(), topic)
	if len(messages) != len(ages) {
		t.Fatalf("%d records", len(messages))
	}
	for i, m := range messages {
		want := now.Add(-ages[i]).UnixMilli()
		was, moved := m.Header("ingest-timestamp")
		refused := ages[i] > 10*time.Minute || ages[i] < -time.Minute
		if string(m.Value) != events[i] || refused != moved || refused && was != fmt.Sprint(want) || !refused && m.Timestamp != want {
			t.Errorf("%s has the time %d, header %q, want %d", m.Value, m.Timestamp, was, want)
		}
	}
}
