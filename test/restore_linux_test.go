package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// The platform says, under load, that the instance was restored from a snapshot. The sequence of numbers ends with a
// mark and another one begins; nothing is lost or doubled by it, and ingest audit finds both complete.
func TestARestoredInstanceBeginsAnotherSequence(t *testing.T) {
	k, bin := kafka(t), proc.Build(t)
	const topic = "restored"
	inFunctionGraph(t, k, topic, "{traffic: {duration: 4s, concurrency: 50, steady: true, rate: 2000}, platform: {resend: 200}}", fgsim.Options{
		Command: []string{bin, "extension"}, Env: []string{"INGEST_HEADERS=standard", "INGEST_EXTENSION_NAME=extensionIngest.sh"},
	})
	starts, restored := map[string]bool{}, false
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic) {
		if seq, ok := m.Header("ingest-seq"); ok {
			start, _, _ := strings.Cut(seq, "-")
			starts[start] = true
		}
		restored = restored || strings.Contains(string(m.Value), "platform.restoreStart")
	}
	if !restored || len(starts) < 2 {
		t.Errorf("restored %v, %d sequences", restored, len(starts))
	}
	code, a := runAudit(t, bin, k, topic)
	if code != 0 || !a.Complete || len(a.Starts) != len(starts) {
		t.Errorf("exit %d, %+v", code, a)
	}
	t.Logf("%+v", a)
}

// A snapshot is restored twice: two processes go on from one state, which is the spool directory, the host name and the
// boot id, and serve an instance each. What was in doubt in the snapshot is sent by both under one stamp, so it is in
// the topic once. What had not been sent comes from both, and ingest audit counts it.
func TestASnapshotThatIsRestoredTwice(t *testing.T) {
	k, bin := kafka(t), proc.Build(t)
	for name, waiting := range map[string]int64{"a batch is in doubt": 0, "and others wait behind it": 30} {
		t.Run(name, func(t *testing.T) {
			topic := fmt.Sprint("restored-twice-", waiting)
			k.Topic(t, topic, 1, nil)
			snapshot := filepath.Join(t.TempDir(), "spool")
			sent := takeSnapshot(t, k, topic, waiting, proc.Serve(bin, k.Bootstrap(), topic, "--ack=disk", "--spool-dir="+snapshot,
				"--headers=standard", "--mark-interval=1s", "--instance=one"))

			var copies [2]*restored
			var wait sync.WaitGroup
			for i := range copies {
				copies[i] = restore(t, k, bin, topic, snapshot, i)
				wait.Go(copies[i].play)
			}
			wait.Wait()
			seen := map[string]int{} // events of the snapshot
			for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic) {
				if _, mark := m.Header("ingest-mark"); mark {
					continue
				}
				if of, ok := m.Header("ingest-tag-copy"); ok {
					copies[of[0]-'0'].account.Saw(fgsim.Sighting{Key: string(m.Key), Value: m.Value, Partition: int32(m.Partition)})
				} else {
					seen[string(m.Value)]++
				}
			}
			for _, c := range copies {
				c.judge(t)
			}
			for n := range sent + waiting {
				times := 1
				if n >= sent {
					times = len(copies)
				}
				if got := seen[string(numbered(n))]; got != times {
					t.Errorf("event %d of the snapshot is there %d times, not %d", n, got, times)
				}
			}
			code, a := runAudit(t, bin, k, topic)
			if a.Complete != (waiting == 0) || (code == 0) != a.Complete || len(a.Starts) < 3 { // a simulated platform may tell one of them of a restoration
				t.Errorf("exit %d, %+v", code, a)
			}
			for _, s := range a.Starts {
				doubled := int64(0)
				if s.State == "killed" {
					doubled = waiting
				}
				if s.Doubled != doubled || s.Missing+s.Lost+s.Disordered+s.Unproven != 0 || s.Complete != (doubled == 0) {
					t.Errorf("%+v", s)
				}
			}
			t.Logf("%+v", a)
		})
	}
}

func numbered(n int64) []byte { return fmt.Appendf(nil, `{"name":"function","logs":"event %d"}`, n) }

// takeSnapshot leaves the spool directory of a process that has delivered events and a mark, has another event in doubt,
// and more behind it. sent is how many events it sent, the one in doubt included.
func takeSnapshot(t *testing.T, k *kafkatest.Cluster, topic string, waiting int64, o proc.Options) (sent int64) {
	t.Helper()
	p := proc.Start(t, o)
	send := func(n int64) {
		if status, answer := post(t, p, "application/json", numbered(n)); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	requests := func() float64 {
		m, err := p.Metrics()
		must(t, err)
		return m["ingest_kafka_requests_total"]
	}
	until(t, func() bool {
		send(sent)
		sent++
		return marked(t, k, topic)
	})
	p.WaitLedger(t, time.Minute, "all is delivered", func(l *proc.Ledger) bool { return l.Delivered == sent })
	must(t, k.Freeze(0))
	defer func() { must(t, k.Thaw(0)) }()
	before := requests()
	send(sent)
	until(t, func() bool { return requests() > before })
	for n := range waiting {
		send(sent + 1 + n)
	}
	must(t, p.Kill())
	return sent + 1
}

// restored is a process that goes on from the snapshot, in an instance of its own.
type restored struct {
	options fgsim.Options
	account *fgsim.Account
	report  *fgsim.Report
	err     error
	ctx     context.Context
}

func restore(t *testing.T, k *kafkatest.Cluster, bin, topic, snapshot string, i int) *restored {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	must(t, os.CopyFS(dir, os.DirFS(snapshot)))
	scenario, err := fgsim.Parse([]byte("{traffic: {duration: 2s, concurrency: 50, steady: true, rate: 1000}, platform: {resend: 200}}"),
		"name="+topic, "ready=60s", "stop.grace=30s", fmt.Sprint("seed=", i))
	must(t, err)
	r := &restored{account: fgsim.NewAccount(), ctx: t.Context()}
	r.options = fgsim.Options{Scenario: scenario, Recorder: r.account, Command: []string{bin, "extension"}, Env: []string{
		"INGEST_BROKERS=" + k.Bootstrap(), "INGEST_TOPIC=" + topic, "INGEST_SPOOL_DIR=" + dir, "INGEST_SHUTDOWN_TIMEOUT=20s",
		"INGEST_HEADERS=standard", "INGEST_INSTANCE=one", fmt.Sprint("INGEST_TAGS=copy=", i), "INGEST_EXTENSION_NAME=extensionIngest.sh",
	}}
	return r
}

func (r *restored) play() { r.report, r.err = fgsim.Run(r.ctx, r.options) }

func (r *restored) judge(t *testing.T) {
	t.Helper()
	must(t, r.err)
	v := r.account.Verdict()
	if !r.report.OK() || r.report.Exit.Code != 0 || v.Acked == 0 || v.Err() != nil {
		var told strings.Builder
		must(t, r.report.WriteText(&told))
		t.Errorf("exit code %d, %v\n%s", r.report.Exit.Code, v.Err(), told.String())
	}
	t.Logf("%d events acknowledged, %d found", v.Acked, v.Seen)
}
