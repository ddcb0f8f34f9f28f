package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/pkg/decode"
	"functiongraph-ingest/pkg/sink/kafka"
)

// deadLetters fills t.dlq: two refused events of f, one that is no JSON of g, one that is no text, a notice and a loss.
func deadLetters(t *testing.T, more ...string) (brokers string) {
	c := cluster(t, append(more, "t.dlq")...)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("t.dlq"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	add := func(value, reason, function string, more ...string) {
		r := &kgo.Record{Value: []byte(value), Key: []byte("k"), Headers: []kgo.RecordHeader{{Key: "ingest-reason", Value: []byte(reason)}, {Key: "ingest-function", Value: []byte(function)}}}
		for _, key := range more {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: key, Value: []byte("true")})
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	add(`{"n":1}`, "refused", "f")
	add(`{"n":2}`, "refused", "f")
	add(`{"n":3,}`, "bad_structure", "g")
	add("{\"n\":\"\xff\"}", "invalid_utf8", "g")
	add(`{"n":`, "too_large", "f", "ingest-truncated")
	add(`{"reason":"spool_full"}`, "loss", "f")
	return c.ListenAddrs()[0]
}

func TestDeadLetterTools(t *testing.T) {
	brokers := deadLetters(t)
	dlq := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := call(t, append([]string{"dlq", args[0], "--brokers=" + brokers, "--topic=t"}, args[1:]...)...)
		if code != want {
			t.Errorf("dlq %v: exit %d, %s%s", args, code, stdout, stderr)
		}
		return stdout, stderr
	}
	if out, _ := dlq(0, "ls"); !strings.Contains(out, "refused        f         2        14") || strings.Count(out, "\n") != 6 {
		t.Errorf("ls:\n%s", out)
	}
	var lots []lot
	if out, _ := dlq(0, "ls", "--json", "--function=g"); json.Unmarshal([]byte(out), &lots) != nil || len(lots) != 2 || lots[0].Letters != 1 {
		t.Errorf("ls --json: %s", out)
	}
	shown, _ := dlq(0, "show", "--reason=refused,invalid_utf8")
	lines := strings.Split(strings.TrimSpace(shown), "\n")
	var l letter
	if len(lines) != 3 || json.Unmarshal([]byte(lines[2]), &l) != nil || string(l.bytes()) != "{\"n\":\"\xff\"}" || l.Function != "g" || l.Key != "k" {
		t.Errorf("show:\n%s", shown)
	}
	if out, _ := dlq(0, "show", "--limit=2"); strings.Count(out, "\n") != 2 {
		t.Errorf("show --limit=2:\n%s", out)
	}
	if out, _ := dlq(0, "show", "--until=1h"); out != "" {
		t.Errorf("show --until=1h:\n%s", out)
	}

	var mu sync.Mutex
	var posted []string
	full := true
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if full { // the first time it has no room
			full = false
			w.Header().Set("Retry-After", "0")
			http.Error(w, "full", http.StatusServiceUnavailable)
			return
		}
		posted = append(posted, string(body))
	}))
	defer listener.Close()
	out, errs := dlq(1, "resend", "--to="+listener.URL)
	if out != `{"taken":2,"deadLetteredAgain":0,"notJSON":2,"notices":2,"refused":0}`+"\n" || strings.Join(posted, "") != `{"n":1}{"n":2}` || strings.Count(errs, "mend it") != 2 {
		t.Errorf("resend: %s%sposted %q", out, errs, posted)
	}
	posted = nil
	if out, _ := dlq(0, "resend", "--reason=refused", "--dry-run", "--to="+listener.URL); !strings.Contains(out, `"taken":2`) || posted != nil {
		t.Errorf("--dry-run: %s, posted %q", out, posted)
	}
	shown, _ = dlq(0, "show", "--reason=bad_structure")
	file := filepath.Join(t.TempDir(), "mended")
	if err := os.WriteFile(file, []byte(strings.Replace(shown, ",}", "}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "dlq", "resend", "--input="+file, "--to="+listener.URL); code != 0 || !strings.Contains(out, `"taken":1`) || strings.Join(posted, "") != `{"n":3}` {
		t.Errorf("resend of what was mended: exit %d, %s%s, posted %q", code, out, errs, posted)
	}
	if _, errs := dlq(1, "resend", "--to=nowhere"); !strings.Contains(errs, "--to: must be the URL of a listener") {
		t.Error(errs)
	}
}

// Past any listener, with the key and the headers that say where the event came from, and none that say that it was a
// dead letter.
func TestResendToTheTopic(t *testing.T) {
	brokers := deadLetters(t, "t")
	args := []string{"dlq", "resend", "--to=topic", "--brokers=" + brokers, "--topic=t"}
	if code, out, errs := call(t, append(args, "--reason=refused", "--dry-run")...); code != 0 || !strings.Contains(out, `"taken":2`) {
		t.Errorf("--dry-run: exit %d, %s%s", code, out, errs)
	}
	code, out, errs := call(t, args...)
	if code != 1 || out != `{"taken":2,"deadLetteredAgain":0,"notJSON":2,"notices":2,"refused":0}`+"\n" {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	file := filepath.Join(t.TempDir(), "mended")
	_, shown, _ := call(t, "dlq", "show", "--brokers="+brokers, "--topic=t", "--reason=bad_structure")
	if err := os.WriteFile(file, []byte(strings.Replace(shown, ",}", "}", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, append(args, "--input="+file)...); code != 0 || !strings.Contains(out, `"taken":1`) {
		t.Errorf("--input: exit %d, %s%s", code, out, errs)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var got []string
	for len(got) < 3 {
		for _, r := range cl.PollFetches(t.Context()).Records() {
			line := string(r.Key) + " " + string(r.Value)
			for _, h := range r.Headers {
				line += " " + h.Key + "=" + string(h.Value)
			}
			got = append(got, line)
		}
	}
	want := []string{`k {"n":1} ingest-function=f`, `k {"n":2} ingest-function=f`, `k {"n":3} ingest-function=g`}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A letter goes to the topic that it names. One whose topic no setting names is refused, also by a dry run, until that topic
// is set or the letter is edited; one that names none goes to --topic. None goes to a topic of another.
func TestResendToSeveralTopics(t *testing.T) {
	c := cluster(t, "t", "t.function", "other", "t.dlq")
	brokers := "--brokers=" + c.ListenAddrs()[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("t", "t.function", "other"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, topic := range []string{"", "t", "t.function", "other", "t.dlq", "a\x1b[31m"} {
		r := &kgo.Record{Topic: "t.dlq", Partition: 0, Value: []byte(`{"for":"` + url.PathEscape(topic) + `"}`), Headers: []kgo.RecordHeader{{Key: "ingest-reason", Value: []byte("refused")}}}
		if topic != "" {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ingest-topic", Value: []byte(topic)})
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"dlq", "resend", "--to=topic", brokers, "--topic=t", "--topic-function=t.function"}
	for _, more := range []string{"--dry-run", "--dry-run=false"} {
		code, out, errs := call(t, append(args, more)...)
		if code != 1 || out != `{"taken":3,"deadLetteredAgain":0,"notJSON":0,"notices":0,"refused":3}`+"\n" || strings.Contains(errs, "\x1b") ||
			strings.Count(errs, "which no setting names: name it in --topic, --topic-platform,") != 3 || !strings.Contains(errs, `"other"`) {
			t.Errorf("%s: exit %d, %s%s", more, code, out, errs)
		}
	}
	_, shown, _ := call(t, "dlq", "show", brokers, "--topic=t")
	file := filepath.Join(t.TempDir(), "edited")
	for line := range strings.Lines(shown) {
		if strings.Contains(line, `"ingest-topic":"other"`) {
			if err := os.WriteFile(file, []byte(strings.Replace(line, `:"other"`, `:"t"`, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code, out, errs := call(t, append(args, "--input="+file)...); code != 0 || !strings.Contains(out, `"taken":1`) {
		t.Errorf("edited: exit %d, %s%s", code, out, errs)
	}
	got := map[string]int{}
	for n := 0; n < 4; {
		for _, r := range cl.PollFetches(t.Context()).Records() {
			got[r.Topic+" "+string(r.Value)]++
			n++
		}
	}
	want := map[string]int{`t {"for":""}`: 1, `t {"for":"t"}`: 1, `t.function {"for":"t.function"}`: 1, `t {"for":"other"}`: 1}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// docs/dead-letters.md has every reason, and its examples end as it says.
func TestReasonsOfThePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "## Reasons, with examples\n")
	section, _, ok2 := strings.Cut(after, "\n## ")
	if !ok || !ok2 {
		t.Fatal("no such section")
	}
	var rows [2][]string // reasons of the decoder, and of the sink
	which, examples := -1, 0
	for line := range strings.Lines(section) {
		if strings.HasPrefix(line, "| reason ") {
			which++
		} else if strings.HasPrefix(line, "| notice ") {
			break
		}
		cells := strings.Split(line, " | ")
		reason := strings.Trim(cells[0], "| `")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		rows[which] = append(rows[which], reason)
		if which != 0 || strings.Contains(cells[1], "…") || !strings.HasPrefix(cells[1], "`") {
			continue
		}
		examples++
		bytesOf := func(cell string) string {
			s, err := strconv.Unquote(`"` + strings.ReplaceAll(strings.Trim(cell, "`"), `"`, `\"`) + `"`)
			if err != nil {
				t.Fatalf("%s: %v", cell, err)
			}
			return s
		}
		var d decode.Decoder
		var e decode.Event
		var dead []string
		for d.Reset([]byte(bytesOf(cells[1])), decode.Options{}); d.Next(&e); {
			if e.Reason != decode.OK {
				dead = append(dead, fmt.Sprintf("%s %q %d", e.Reason, e.Raw(), e.ErrorOffset()))
			}
		}
		if want := fmt.Sprintf("%s %q %s", reason, bytesOf(cells[2]), cells[3]); len(dead) != 1 || dead[0] != want {
			t.Errorf("%s: %q, the page says %s", cells[1], dead, want)
		}
	}
	var decoders []string
	for _, r := range decode.Reasons() {
		decoders = append(decoders, r.String())
	}
	slices.Sort(decoders)
	slices.Sort(rows[0])
	if !slices.Equal(rows[0], decoders) || !slices.Equal(rows[1], kafka.DeadReasons()) || examples < 7 {
		t.Errorf("%d examples; the page has %q, the program %q and %q", examples, rows, decoders, kafka.DeadReasons())
	}
	for _, word := range []string{kafka.ReasonLoss, kafka.HeaderTruncated} {
		if !strings.Contains(section, "`ingest-reason: "+word+"`") && !strings.Contains(section, "`"+word+": true`") {
			t.Errorf("the page does not know the notice %s", word)
		}
	}
}
