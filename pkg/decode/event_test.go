package decode

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func one(t *testing.T, body string, o Options) *Event {
	t.Helper()
	var d Decoder
	e := new(Event)
	d.Reset([]byte(body), o)
	if !d.Next(e) || e.Reason != OK {
		t.Fatalf("%s: %v at %d", body, e.Reason, e.ErrorOffset())
	}
	return e
}

// Every kind, in the documented spelling and with every slip of the reference.
func TestKinds(t *testing.T) {
	names := map[string]Kind{
		"platform.initStart": InitStart, "platform.start": Start, "platform.restoreStart": RestoreStart,
		"platform.initRuntimeDone": InitRuntimeDone, "platform.RuntimeDone": RuntimeDone, "platform.restoreRuntimeDone": RestoreRuntimeDone,
		"platform.initReport": InitReport, "platform.report": Report, "platform.restoreReport": RestoreReport,
		"function": Function, "extension": Extension,
	}
	if len(names) != int(Extension) {
		t.Fatal("a kind is missing")
	}
	for name, kind := range names {
		for slip, s := range map[string]string{
			"as documented": name, "blank behind": name + " ", "blank before": " " + name, "tab": `\t` + name, "trailing comma": name + ",",
			"comma and blanks": " " + name + " , ", "lower case": strings.ToLower(name), "upper case": strings.ToUpper(name),
			"escaped": strings.ReplaceAll(name, "t", `\u0074`),
		} {
			for _, key := range []string{"name", " name ", "Name", `n\u0061me`} {
				for _, pad := range []string{"", strings.Repeat(" ", 40)} {
					if e := one(t, fmt.Sprintf(`{"%s":"%s"}%s`, key, s, pad), Options{}); e.Kind != kind {
						t.Errorf("%s (%s): %q under %q is %v", name, slip, s, key, e.Kind)
					}
				}
			}
		}
		if !strings.EqualFold(kind.String(), name) {
			t.Errorf("%v is called %v", name, kind)
		}
	}
	for _, s := range []string{"", " ", ",", "functio", "functions", "platform", "platform.", "platform.startX", "platform.report2", "extensions", "ſtart", "name", "unknown"} {
		for _, pad := range []string{"", strings.Repeat(" ", 40)} {
			if e := one(t, fmt.Sprintf(`{"name":"%s"}%s`, s, pad), Options{}); e.Kind != Unknown {
				t.Errorf("%q is %v", s, e.Kind)
			}
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for _, r := range append(Reasons(), OK) {
		if s := r.String(); seen[s] || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_8") != "" {
			t.Errorf("reason %d is called %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if len(seen) != int(numReasons)+1 {
		t.Errorf("%d names", len(seen))
	}
}

func TestKey(t *testing.T) {
	for body, want := range map[string]string{
		`{"traceId":"abc"}`:                                  "abc",
		`{"traceId":" abc "}`:                                "abc",
		`{" traceid ":"abc"}`:                                "abc",
		`{"traceId":"a\u0062\/c\n"}`:                         "ab/c",
		`{"traceId":"\u00e9\ud83d\ude00\ud800"}`:             "é😀\ufffd",
		`{"traceId":"日本"}`:                                   "日本",
		`{"traceId":"x","traceId":"y"}`:                      "y",
		`{"traceId":"69be64a7-0233-11e8-82e4-e5d37911193e"}`: "69be64a7-0233-11e8-82e4-e5d37911193e",
		`{"traceId":"69be64a7-0233-11e8-82e4-e5d379111\"3"}`: "69be64a7-0233-11e8-82e4-e5d379111\"3",
	} {
		if got := one(t, body, Options{}).Key(make([]byte, 3, 64)); string(got) != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	for _, body := range []string{`{}`, `{"traceId":""}`, `{"traceId":" \t\u0020"}`, `{"traceId":5}`, `{"traceId":null}`, `{"traceId":{"a":"b"}}`, `{"traceId":"x","traceId":1}`,
		`{"x":{"traceId":"a"}}`} {
		if got := one(t, body, Options{}).Key(make([]byte, 3, 64)); got != nil {
			t.Errorf("%s: %q, want none", body, got)
		}
	}
	if got := one(t, `{"traceId":" a\xb "}`, Options{Lenient: true}).Key(nil); string(got) != `a\xb` {
		t.Errorf("an illegal escape: %q", got)
	}
}

func TestLogs(t *testing.T) {
	e := one(t, `{"logs":" [Function]a\tb\u00e9\"\\ "}`, Options{})
	if got, err := e.AppendLogs([]byte("> ")); err != nil || string(got) != ">  [Function]a\tbé\"\\ " {
		t.Errorf("%q %v", got, err)
	}
	if got := string(e.Logs()); got != `[Function]a\tb\u00e9\"\\` {
		t.Errorf("raw %q", got)
	}
	if got, err := one(t, `{"logs":5}`, Options{}).AppendLogs([]byte(">")); err != nil || string(got) != ">" {
		t.Errorf("no logs: %q %v", got, err)
	}
	for _, s := range []string{`a\x`, `a\u12`, `a\u12g4b`} {
		got, err := one(t, `{"logs":"`+s+`"}`, Options{Lenient: true}).AppendLogs([]byte(">"))
		if err == nil || string(got) != ">" || !strings.Contains(err.Error(), "offset 10 ") {
			t.Errorf("%s: %q %v", s, got, err)
		}
	}
}

func TestTimes(t *testing.T) {
	want := time.Date(2023, 2, 1, 0, 3, 50, 0, time.UTC)
	for _, s := range []string{"2023-02-01T00:03:50.000Z", " 2023-02-01T00:03:50.000Z ", "2023-02-01T00:03:50Z", "2023-02-01T08:03:50.000+08:00", `2023-02-01T00\u003a03:50.000Z\t`} {
		e := one(t, fmt.Sprintf(`{"startTime":"%s","endTime":"%s"}`, s, s), Options{})
		for _, f := range []func() (time.Time, error){e.Start, e.End} {
			if got, err := f(); err != nil || !got.Equal(want) {
				t.Errorf("%q: %v %v", s, got, err)
			}
		}
	}
	if _, err := one(t, `{"startTime":"yesterday"}`, Options{}).Start(); err == nil || errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
	if _, err := one(t, `{"startTime":5}`, Options{}).Start(); !errors.Is(err, ErrAbsent) {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	want := Metrics{DurationMs: 10.6, BillingDurationMs: 11, MemoryUsed: 23.4, MemorySize: 128, PodName: "pool22-300"}
	for _, body := range []string{
		`{"metrics":{"durationMs":10.6,"billingDurationMS":11,"memoryUsed":23.4,"memorySize":128,"podName":"pool22-300"}}`,
		`{"reportMetrics": {"durationMs": 10.6, "billingDurationMS": 11, "memoryUsed": 23.4, " memorySize ": 128, "podName": "pool22-300"}}`,
		`{" ReportMetrics " : { "DURATIONMS" : 1.06e1 , "billingDurationMs":11.0, "memoryUsed":23.4,"memorysize":1.28e2,"podName":" pool22\u002d300 ","x":[{"}":1}]}} `,
	} {
		var m Metrics
		if err := one(t, body, Options{}).Metrics(&m); err != nil || m != want {
			t.Errorf("%s: %+v %v", body, m, err)
		}
	}
	m := want
	if err := one(t, `{"name":"function"}`, Options{}).Metrics(&m); !errors.Is(err, ErrAbsent) || m != (Metrics{}) {
		t.Errorf("%+v %v", m, err)
	}
	if err := one(t, `{"metrics":{}}`, Options{}).Metrics(&m); err != nil || m != (Metrics{}) {
		t.Errorf("%+v %v", m, err)
	}
	for _, v := range []string{`5`, `"x"`, `[1]`, `null`, `{"durationMs":"1"}`, `{"durationMs":1e999}`, `{"memorySize":1.5}`, `{"memorySize":1e30}`, `{"podName":7}`, `{"memoryUsed":null}`} {
		if err := one(t, `{"metrics":`+v+`}`, Options{}).Metrics(&m); err == nil {
			t.Errorf("%s: %+v", v, m)
		}
	}
	if err := one(t, `{"metrics":{"durationMs":"x","memorySize":7}}`, Options{}).Metrics(&m); err == nil || m.MemorySize != 7 {
		t.Errorf("%+v %v", m, err)
	}
}

func TestKeyOfABadRegion(t *testing.T) {
	for _, c := range []struct{ region, want string }{
		{"{\"traceId\":\"a\",\"logs\":\"\x01\"}", "a"},
		{"{\"logs\":\"\x01\",\"traceId\" : \" \\u0061 \"}", "a"},
		{`{"traceId":"a","traceId":"a",}`, "a"},
		{`{"traceId":"a","o":{"traceId":"b"},}`, "none"},
		{`{"traceId":5,}`, "none"},
		{`{"traceId":"a`, "none"},
		{`{"logs":"{\"traceId\":\"a\"}",}`, "none"},
		{`{"traceId":"",}`, "none"},
		{`{"traceId":"` + strings.Repeat("x", maxSalvaged+1) + `",}`, "none"},
		{`"traceId":"a"}`, "a"},
		{`{"traceId"`, "none"},
	} {
		items, _ := run(t, []byte("[{},"+c.region), Options{})
		if it := items[1]; it.reason == OK || !strings.Contains(it.fields, " | "+c.want+" | ") {
			t.Errorf("%s: %v %s", c.region, it, it.fields)
		}
	}
}
