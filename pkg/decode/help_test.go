package decode

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// item is an event without its body.
type item struct {
	kind   Kind
	reason Reason
	raw    string
	offset int
	errOff int
	fields string // all that the accessors return
}

func (it item) String() string {
	if it.reason == OK {
		return fmt.Sprintf("%v@%d %s", it.kind, it.offset, it.raw)
	}
	return fmt.Sprintf("%v@%d(%d) %s", it.reason, it.offset, it.errOff, it.raw)
}

func itemOf(e *Event) item {
	key := "none"
	if k := e.Key(nil); k != nil {
		key = string(k)
	}
	fields := joined(string(e.Name()), string(e.TraceID()), key, string(e.StartTime()), string(e.EndTime()), string(e.Status()), string(e.Logs()),
		string(e.RawMetrics()))
	return item{e.Kind, e.Reason, string(e.Raw()), e.Offset(), e.ErrorOffset(), fields}
}

func joined(fields ...string) string { return strings.Join(fields, " | ") }

// run decodes a body and checks what must hold for every body: order, and where each byte went.
func run(t testing.TB, body []byte, o Options) ([]item, Notes) {
	t.Helper()
	before := string(body)
	var d Decoder
	var e Event
	d.Reset(body, o)
	var items []item
	end := 0
	separators := ""
	for d.Next(&e) {
		it := itemOf(&e)
		items = append(items, it)
		if it.raw == "" {
			t.Fatalf("an empty region: %v of %q", it, body)
		}
		if it.offset < end {
			t.Fatalf("%v starts before %d, where the one before it ends, in %q", it, end, body)
		}
		if it.raw != before[it.offset:it.offset+len(it.raw)] {
			t.Fatalf("Raw is not what stands at its offset: %v in %q", it, body)
		}
		if it.reason == OK && (it.raw[0] != '{' || it.raw[len(it.raw)-1] != '}') {
			t.Fatalf("not an object: %v in %q", it, body)
		}
		if it.reason != OK && (it.errOff < it.offset || it.errOff > it.offset+len(it.raw)) {
			t.Fatalf("error offset out of range: %v in %q", it, body)
		}
		separators += before[end:it.offset]
		end = it.offset + len(it.raw)
	}
	separators += before[end:]
	s := strings.TrimPrefix(separators, "\xef\xbb\xbf")
	s = strings.Trim(s, ", \t\r\n") // commas before and behind the array
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	if s = strings.Trim(s, ", \t\r\n"); s != "" {
		s = strings.Join(strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }), "")
	}
	if o.NDJSON || furtherArray.MatchString(before) {
		s = strings.Trim(s, "[]") // further arrays have brackets too
	}
	if s != "" {
		t.Fatalf("%q is in no event and no region of %q", s, body)
	}
	if d.Next(&e) {
		t.Fatalf("an event behind the end: %v of %q", itemOf(&e), body)
	}
	if string(body) != before {
		t.Fatalf("the body was written to: %q", before)
	}
	if spent := budgetFor(len(body)) - d.budget; spent > budgetFor(len(body))+4*len(body)+64 {
		t.Fatalf("%d bytes looked at to resync in a body of %d", spent, len(body))
	}
	if s := d.search; s != nil && s.looked > 64*(len(body)+1024) {
		t.Fatalf("quotes were looked for in %d bytes of a body of %d", s.looked, len(body))
	}
	return items, d.Notes()
}

// good are the raw bytes of the good events.
func good(items []item) [][]byte {
	var raws [][]byte
	for _, it := range items {
		if it.reason == OK {
			raws = append(raws, []byte(it.raw))
		}
	}
	return raws
}

// lost are the elements of want, in order, that are not among got.
func lost(want, got [][]byte) (missing [][]byte) {
	i := 0
	for _, w := range want {
		j := i
		for j < len(got) && !bytes.Equal(w, got[j]) {
			j++
		}
		if j == len(got) {
			missing = append(missing, w)
			continue
		}
		i = j + 1
	}
	return missing
}

func both(t *testing.T, f func(t *testing.T, o Options)) {
	t.Run("strict", func(t *testing.T) { f(t, Options{}) })
	t.Run("lenient", func(t *testing.T) { f(t, Options{Lenient: true}) })
}

// furtherArray is another array on a line behind the end of one.
var furtherArray = regexp.MustCompile(`\]\s*\n\s*\[`)
