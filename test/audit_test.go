package test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

// audited is what ingest audit --json says.
type audited struct {
	Complete bool
	Records  int64
	Starts   []struct {
		State                                                                    string
		Numbers, Proven, Delivered, Missing, Lost, Doubled, Disordered, Unproven int64
		Gaps                                                                     [][2]int64
		Complete                                                                 bool
	}
}

func runAudit(t *testing.T, bin string, k *kafkatest.Cluster, topic string, more ...string) (code int, a audited) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), bin, append([]string{"audit", "--json", "--brokers=" + k.Bootstrap(), "--topic=" + topic}, more...)...).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("exit %d, %v: %s, %s", code, err, out, exit.Stderr)
	}
	return code, a
}

// marked reports whether the topic has a mark.
func marked(t *testing.T, k *kafkatest.Cluster, topic string) (found bool) {
	t.Helper()
	must(t, kafkatest.ConsumeEach(t.Context(), k.Bootstrap(), topic, func(m *kafkatest.Message) error {
		_, ok := m.Header("ingest-mark")
		found = found || ok
		return nil
	}))
	return found
}

// A process is killed under load and started again; every event that was acknowledged is in the topic, and ingest audit
// says so from the topic alone. AUDIT_EVENTS takes another number of events: make audit has a million.
func TestAuditOfARunWithAKill(t *testing.T) {
	t.Parallel()
	events := int64(60_000)
	if n, err := strconv.ParseInt(os.Getenv("AUDIT_EVENTS"), 10, 64); err == nil {
		events = n
	}
	k, bin := kafka(t), proc.Build(t)
	k.Topic(t, "proved", 4, nil)
	options := proc.Serve(bin, k.Bootstrap(), "proved", "--headers=standard", "--mark-interval=1s", "--instance=one",
		"--ack=disk", "--spool-dir="+t.TempDir()+"/spool")
	p := proc.Start(t, options)
	o := oracle.New(4)
	post := func(p *proc.Process, n int64) *load.Run {
		run, err := load.Start(t.Context(), load.Options{Addr: p.Listen, Conns: 4, MaxEvents: n, RetryAfter: true, Recorder: o, Profile: load.Profile{Events: 20, Marked: true}})
		must(t, err)
		return run
	}
	first := post(p, events)
	p.WaitLedger(t, 10*time.Minute, "a part is delivered", func(l *proc.Ledger) bool { return l.Delivered > events/3 })
	until(t, func() bool { return marked(t, k, "proved") }) // and events behind it
	must(t, p.Kill())
	first.Stop()
	options.Listen, options.Admin = p.Listen, p.Admin
	p = proc.Start(t, options)
	post(p, events-events/3).Wait()
	if code, l := p.MustStop(t); code != 0 || l.DroppedTotal() != 0 {
		t.Errorf("exit %d, %+v", code, l)
	}
	code, a := runAudit(t, bin, k, "proved")
	if code != 0 || !a.Complete || a.Records < events || len(a.Starts) != 2 || a.Starts[0].State != "killed" || a.Starts[1].State != "closed" || a.Starts[0].Proven == 0 {
		t.Errorf("exit %d, %+v", code, a)
	}
	t.Logf("%+v", a)
	judge := o.Judge() // the same by what the client was answered
	must(t, kafkatest.ConsumeEach(t.Context(), k.Bootstrap(), "proved", func(m *kafkatest.Message) error {
		if _, mark := m.Header("ingest-mark"); !mark {
			judge.Message(m.Partition, m.Key, m.Value)
		}
		return nil
	}))
	report := judge.Report()
	if t.Log(report); report.Err() != nil {
		t.Error(report.Err())
	}
}

// A short run, and copies of its topic in which something is wrong.
func TestAuditFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	k, bin := kafka(t), proc.Build(t)
	k.Topic(t, "source", 2, nil)
	p := proc.Start(t, proc.Serve(bin, k.Bootstrap(), "source", "--headers=standard", "--instance=one"))
	var body strings.Builder
	for i := range 2000 {
		body.WriteString(`{"name":"function","traceId":"` + strconv.Itoa(i%50) + `","logs":"` + strconv.Itoa(i) + "\"}\n")
	}
	if status, answer := post(t, p, "application/x-ndjson", []byte(body.String())); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	p.MustStop(t)
	all := recordsOf(t, k, "source", 2000+1)
	isMark := func(r *kgo.Record) bool { return r.Headers[0].Key == "ingest-mark" }
	type edit func(part []*kgo.Record) []*kgo.Record // of one partition
	for name, c := range map[string]struct {
		edit edit
		ok   func(audited) bool
	}{
		"a true copy": {func(p []*kgo.Record) []*kgo.Record { return p }, func(a audited) bool { return a.Complete }},
		"a deleted range": {func(p []*kgo.Record) []*kgo.Record { return slices.Delete(p, 300, 340) },
			func(a audited) bool { return !a.Complete && a.Starts[0].Missing == 40 }},
		"a cut tail": {func(p []*kgo.Record) []*kgo.Record {
			return slices.DeleteFunc(p, func(r *kgo.Record) bool { return r.Offset > 700 })
		}, func(a audited) bool { return !a.Complete && a.Starts[0].State == "open" }},
		"a cut tail, the mark is there": {func(p []*kgo.Record) []*kgo.Record {
			return slices.DeleteFunc(p, func(r *kgo.Record) bool { return r.Offset > 700 && !isMark(r) })
		}, func(a audited) bool { return !a.Complete && a.Starts[0].Missing > 0 }},
		"a doubled batch": {func(p []*kgo.Record) []*kgo.Record { return slices.Insert(p, 500, p[450:500]...) },
			func(a audited) bool { return !a.Complete && a.Starts[0].Doubled == 50 && a.Starts[0].Missing == 0 }},
		"a swapped pair": {func(p []*kgo.Record) []*kgo.Record { p[100], p[101] = p[101], p[100]; return p },
			func(a audited) bool { return !a.Complete && a.Starts[0].Disordered == 1 && a.Starts[0].Missing == 0 }},
	} {
		topic := strings.ReplaceAll(strings.ReplaceAll(name, ",", ""), " ", "-")
		k.Topic(t, topic, 2, nil)
		var out []*kgo.Record
		for part := range int32(2) {
			list := slices.DeleteFunc(slices.Clone(all), func(r *kgo.Record) bool { return r.Partition != part })
			if part == 0 || strings.HasPrefix(name, "a cut tail") {
				list = c.edit(list)
			}
			for _, r := range list {
				out = append(out, &kgo.Record{Topic: topic, Partition: part, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp})
			}
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(k.Bootstrap()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		must(t, err)
		must(t, cl.ProduceSync(t.Context(), out...).FirstErr())
		cl.Close()
		code, a := runAudit(t, bin, k, topic)
		if !c.ok(a) || (code == 0) != a.Complete || code != 0 && code != 3 {
			t.Errorf("%s: exit %d, %+v", name, code, a)
		}
	}
}

// Ranges of offsets and of time, of a process that runs on.
func TestAuditOfARange(t *testing.T) {
	k, bin := kafka(t), proc.Build(t)
	k.Topic(t, "ranges", 2, nil)
	p := proc.Start(t, proc.Serve(bin, k.Bootstrap(), "ranges", "--headers=cloudevents", "--mark-interval=1s", "--instance=one"))
	send := func(n int) {
		var body strings.Builder
		for i := range n {
			body.WriteString(`{"name":"function","traceId":"` + strconv.Itoa(i%50) + `","logs":"` + strconv.Itoa(i) + "\"}\n")
		}
		if status, answer := post(t, p, "application/x-ndjson", []byte(body.String())); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	send(1000)
	p.WaitLedger(t, time.Minute, "all are delivered", func(l *proc.Ledger) bool { return l.Delivered == 1000 })
	for _, c := range []struct {
		flags    []string
		complete bool
		state    string
	}{
		{nil, false, "open"},
		{[]string{"--offsets=0:100-200"}, true, "continued"},
		{[]string{"--offsets=0:0-,1:3-300"}, true, "continued"},
		{[]string{"--offsets=0:0-99999"}, false, "open"}, // its tail may be cut off
	} {
		code, a := runAudit(t, bin, k, "ranges", c.flags...)
		if a.Complete != c.complete || (code == 0) != c.complete || len(a.Starts) != 1 || a.Starts[0].State != c.state || a.Starts[0].Missing != 0 {
			t.Errorf("%v: exit %d, %+v", c.flags, code, a)
		}
	}
	before := "--until=" + time.Now().UTC().Format(time.RFC3339Nano)
	if code, a := runAudit(t, bin, k, "ranges", before); code != 3 || a.Complete {
		t.Errorf("nothing is behind the range: exit %d, %+v", code, a)
	}
	until(t, func() bool { // a mark comes with the first event after its interval
		send(10)
		code, a := runAudit(t, bin, k, "ranges", before)
		return code == 0 && a.Complete && a.Starts[0].State == "continued" && a.Starts[0].Proven >= 1000
	})
	if out, err := exec.CommandContext(t.Context(), bin, "audit", "--brokers="+k.Bootstrap(), "--topic=ranges", "--offsets=0:9-8").CombinedOutput(); err == nil || !strings.Contains(string(out), "--offsets") {
		t.Errorf("%v: %s", err, out)
	}
}

// recordsOf reads n records, those of each partition in order.
func recordsOf(t *testing.T, k *kafkatest.Cluster, topic string, n int) (list []*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Bootstrap()), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	must(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(list) < n {
		f := cl.PollFetches(ctx)
		must(t, ctx.Err())
		list = append(list, f.Records()...)
	}
	return list
}
