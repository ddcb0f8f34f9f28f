// Package compat runs the built binary against real brokers of several versions of Apache Kafka, with every codec, and
// reads what they have with kcat, with the console consumer of each version, and with Kafka's own DumpLogSegments.
package compat

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

var (
	all   = flag.Bool("all", false, "every version with every codec, not the short form")
	write = flag.Bool("write", false, "put the table into docs/compatibility.md")
)

// versions are the releases that are tried: the oldest and the newest of what is in use, and where a part of the
// protocol has changed.
var versions = []string{"1.1.1", "2.3.1", "2.8.2", "3.5.2", "3.9.2", "4.0.2", kafkatest.Version(), "4.4.0"}

var codecs = []string{"none", "snappy", "lz4", "zstd", "gzip"}

const (
	bodies  = 100
	perBody = 3
	bad     = 4 // dead letters
)

// cell is what came of one codec with one version.
type cell struct{ version, codec, text string }

func TestCompatibility(t *testing.T) {
	var cells []cell
	tried, codecs := versions, codecs
	if !*all {
		tried, codecs = []string{versions[0]}, []string{"zstd"}
	}
	for _, version := range tried {
		t.Run(version, func(t *testing.T) {
			options := []kafkatest.Option{kafkatest.WithVersion(version),
				kafkatest.WithProperty("auto.create.topics.enable", "true"), kafkatest.WithProperty("num.partitions", "5"),
				kafkatest.WithProperty("group.initial.rebalance.delay.ms", "0")}
			old := version < "2.8"
			if old {
				options = append(options, withPermissions()...)
			}
			k := kafkatest.Start(t, options...)
			var read []string // all that kcat has read
			for _, codec := range codecs {
				t.Run(codec, func(t *testing.T) {
					text, lines := deliver(t, k, "by-ingest-"+codec, 3, codec, "--create-topic", "--topic-partitions=3")
					cells, read = append(cells, cell{version, codec, text}), append(read, lines...)
				})
			}
			t.Run("topic of the broker's making", func(t *testing.T) {
				text, lines := deliver(t, k, "by-the-broker", 5, "snappy")
				cells, read = append(cells, cell{version, "auto", text}), append(read, lines...)
			})
			if old {
				t.Run("IDEMPOTENT_WRITE is taken", func(t *testing.T) { idempotentWriteIsTaken(t, k) })
			}
			t.Run("console consumer", func(t *testing.T) {
				lines, err := k.Console(t.Context(), "by-.*", len(read))
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(lines)
				if slices.Sort(read); !slices.Equal(lines, read) {
					t.Errorf("the console consumer has read other records than kcat: %d and %d", len(lines), len(read))
				}
			})
		})
	}
	if *write && !t.Failed() {
		if err := os.WriteFile(filepath.Join("..", "..", "docs", "compatibility.md"), page(cells), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// withPermissions has a broker of before SCRAM's own requests ask for permissions where clients log in.
func withPermissions() []kafkatest.Option {
	const login = "listener.name.login."
	return []kafkatest.Option{kafkatest.WithSASL(), kafkatest.WithACLs(),
		kafkatest.WithProperty(login+"sasl.enabled.mechanisms", "PLAIN"),
		kafkatest.WithProperty(login+"plain.sasl.jaas.config",
			`org.apache.kafka.common.security.plain.PlainLoginModule required user_fn="right";`)}
}

// idempotentWriteIsTaken: brokers before 2.8 ask for IDEMPOTENT_WRITE on the cluster with each request. Without it the
// log names it, and once it is back everything that waited is delivered, without a restart and once.
func idempotentWriteIsTaken(t *testing.T, k *kafkatest.Cluster) {
	const topic = "denied"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k.Topic(t, topic, 1, nil)
	must(k.Grant("fn", topic, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe))
	must(k.Grant("fn", "", kmsg.ACLOperationIdempotentWrite))
	p := proc.Start(t, proc.Serve(proc.Build(t), k.SASL(), topic, "--ack=accept", "--sasl-mechanism=PLAIN", "--sasl=fn:right"))
	var want []string
	send := func(event string) { want = append(want, event); post(t, p, "["+event+"]") }
	lines := func(words ...string) (n int) {
		for line := range strings.Lines(p.Stderr()) {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
				n++
			}
		}
		return n
	}
	await := func(what string, n int64, words ...string) {
		t.Helper()
		p.WaitLedger(t, 2*time.Minute, what, func(l *proc.Ledger) bool { return l.Delivered >= n && (words == nil || lines(words...) > 0) })
	}
	send(`{"n":1}`)
	await("the first event", 1)
	must(k.Revoke("fn", "", kmsg.ACLOperationIdempotentWrite))
	p.WaitLedger(t, 2*time.Minute, "the refusal", func(*proc.Ledger) bool {
		send(fmt.Sprintf(`{"n":%d}`, len(want)+1)) // the broker learns of it a moment later
		return lines("level=WARN", "refuses a producer id", "IDEMPOTENT_WRITE on the cluster") > 0
	})
	must(k.Grant("fn", "", kmsg.ACLOperationIdempotentWrite))
	await("the end of it", int64(len(want)), "level=INFO", "events reach Kafka again", "was=producer_denied")
	code, l := p.MustStop(t)
	if code != 0 || l.Delivered != int64(len(want)) || l.PossibleDuplicates != 0 || len(l.Dropped) != 0 {
		t.Errorf("exit %d, ledger %+v, want %d events", code, l, len(want))
	}
	has(t, k, topic, want)
}

// deliver posts events and bad ones, to a topic that is made on the way with so many partitions, and looks at
// everything that Kafka has then. It returns what the table says, and the records as the console consumer prints them.
func deliver(t *testing.T, k *kafkatest.Cluster, topic string, partitions int, codec string, more ...string) (text string, lines []string) {
	t.Helper()
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), topic, append(more, "--codec="+codec)...))
	var good, wrong []string
	for i := range bodies {
		var elements []string
		for j := range perBody {
			e := fmt.Sprintf(`{"n":%d,"text":"%s"}`, perBody*i+j, strings.Repeat("ingest ", 30))
			if j > 0 {
				e = fmt.Sprintf(`{"traceId":"t%d","n":%d}`, i%7, perBody*i+j)
			}
			elements, good = append(elements, e), append(good, e)
		}
		if i < bad {
			e := fmt.Sprintf(`{"bad":%d,}`, i)
			elements, wrong = append(elements, e), append(wrong, e)
		}
		post(t, p, "["+strings.Join(elements, ",")+"]")
	}
	code, l := p.MustStop(t)
	if code != 0 || l.Delivered != bodies*perBody || l.DeadLettered != bad || !l.Idempotent || l.PossibleDuplicates != 0 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
	lines = append(has(t, k, topic, good), has(t, k, topic+".dlq", wrong)...)
	leaders, err := k.Leaders(topic)
	if err != nil || len(leaders) != partitions {
		t.Errorf("%d partitions, want %d: %v", len(leaders), partitions, err)
	}
	batches, err := k.Dump(t.Context(), 0, topic)
	if err != nil || len(batches) == 0 {
		t.Fatalf("%d batches: %v", len(batches), err)
	}
	used := map[string]bool{}
	for _, b := range batches {
		if !b.Valid || !b.Idempotent {
			t.Errorf("%+v", b)
		}
		used[strings.ToLower(b.Codec)] = true
	}
	delete(used, "none") // a batch that does not shrink
	want := codec
	if warned := strings.Count(p.Stderr(), "do not take zstd"); warned > 0 {
		want = "snappy"
		if codec != "zstd" || warned > 1 {
			t.Errorf("%d warnings about zstd with %s", warned, codec)
		}
	}
	if codec != "none" && (len(used) != 1 || !used[want]) || codec == "none" && len(used) > 0 {
		t.Errorf("the log has %v, want %s", used, want)
	}
	if want != codec {
		return "as " + want, lines
	}
	return "ok", lines
}

func post(t *testing.T, p *proc.Process, body string) {
	t.Helper()
	res, err := http.Post(p.URL("/"), "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if answer, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", res.StatusCode, answer, err)
	}
}

// has compares a topic, as kcat reads it, with values: all of them, each once, byte for byte. It returns the records as
// the console consumer prints them.
func has(t *testing.T, k *kafkatest.Cluster, topic string, values []string) (lines []string) {
	t.Helper()
	var got []string
	for _, m := range kafkatest.Kcat(t, k.Bootstrap(), topic) {
		got, lines = append(got, string(m.Value)), append(lines, m.ConsoleLine())
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(values)); !slices.Equal(got, want) {
		t.Errorf("topic %s has %d records, want %d", topic, len(got), len(want))
	}
	return lines
}

// page is docs/compatibility.md.
func page(cells []cell) []byte {
	var b bytes.Buffer
	b.WriteString(`# Compatibility

Written by ` + "`make compat`" + `, which runs the built binary against one real broker of each version (Kafka 1 and 2 with
ZooKeeper, the others with KRaft), with ` + "`--ack=kafka`" + ` and producer ids.

In each cell 300 events with and without keys and 4 dead letters were posted. kcat has read every one of them, byte for
byte and once, and the Java console consumer of each version the same records with the same keys and timestamps. Kafka's
DumpLogSegments found every batch valid, with a producer id and the codec of the column. Topic and dead-letter topic
were made by ingest on the way: in the last column the topic by the broker, which makes what is asked for
(` + "`auto.create.topics.enable`" + `), elsewhere by ` + "`--create-topic`" + `.

| Kafka | ` + strings.Join(codecs, " | ") + ` | topic made by the broker |
|---|` + strings.Repeat("---|", len(codecs)+1) + "\n")
	for _, v := range versions {
		fmt.Fprintf(&b, "| %s |", v)
		for _, codec := range append(slices.Clone(codecs), "auto") {
			i := slices.IndexFunc(cells, func(c cell) bool { return c.version == v && c.codec == codec })
			text := "not tried"
			if i >= 0 {
				text = cells[i].text
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	b.WriteString(`
- Brokers before 2.1 do not take zstd: batches go as snappy, with one warning.
- Brokers before 2.4 have no default for partitions and replicas of a new topic: without ` + "`--topic-partitions` and\n  `--topic-replication`" + ` it gets as many as there are brokers, at most three.
- Brokers before 2.8 with ACLs want IDEMPOTENT_WRITE on the cluster beside WRITE on the topic, or
  ` + "`--idempotence=prefer`" + `. With 1.1.1 and 2.3.1 it was taken away while a process sent: one warning named it, and all
  that waited was delivered once it was back.
- Services without producer ids need ` + "`--idempotence=prefer`" + `: see [guarantees](guarantees.md).
`)
	return b.Bytes()
}
