package test

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// The readers of docs/consuming.md in Go, Java and Python print the same: a function's log by invocation, where it is
// certain, and how many invocations were open where it is not.
func TestReadersPrintLogsByInvocation(t *testing.T) {
	needs(t, "kcat", "python3", "javac", "go")
	k, bin := kafka(t), proc.Build(t)
	k.Topic(t, "readers", 3, nil)
	write := func(function, instance string, events ...string) {
		o := proc.Serve(bin, k.Bootstrap(), "readers", "--headers=standard", "--instance="+instance)
		o.Env = append(o.Env, "RUNTIME_FUNC_NAME="+function)
		p := proc.Start(t, o)
		for _, e := range events { // one a body: most of them go to other partitions than their neighbours
			if code, text := post(t, p, "application/json", []byte(strings.ReplaceAll(e, "@", "2026-03-01T12:00:"))); code != 200 {
				t.Fatalf("%d %s", code, text)
			}
		}
		if code, l := p.MustStop(t); code != 0 || l.Delivered != int64(len(events)) {
			t.Fatalf("exit %d, %+v", code, l)
		}
	}
	write("shop", "a",
		`{"name":"function","startTime":"@00.000Z","logs":"[Function]before all"}`,
		`{"name":"platform.start ","startTime":"@01.000Z ","traceId":"one"}`,
		`{"name":"function","startTime":"@01.100Z","logs":"[Function]of one"}`,
		`{"name":"platform.RuntimeDone","startTime":"@01.200Z","traceId":"one","status":"success"}`,
		`{"name":"platform.report","startTime":"@01.000Z","endTime":" @01.300Z ","traceId":"one","status":"success"}`,
		`{"name":"platform.start","startTime":"@02.000Z","traceId":"two"}`,
		`{"name":"function","startTime":"@01.250Z","logs":"[Function]of one, and late"}`,
		`{"name":"function","startTime":"@02.100Z","logs":"[Function]caf\u00e9, of two"}`,
		`{"name":"platform.start","startTime":"@02.200Z","traceId":"three"}`,
		`{"name":"function","startTime":"@02.300Z","logs":"[Function]of two or three"}`,
		`{"name":"function","startTime":"@02.400Z","traceId":"three","logs":"[Function]says that it is of three"}`,
		`{"name":"platform.RuntimeDone","startTime":"@02.500Z","traceId":"two","status":"success"}`,
		`{"name":"extension","startTime":"@02.550Z","logs":"[Extension]another's"}`,
		`{"name":"function","startTime":"@02.600Z","logs":"[Function]of three"}`,
	)
	write("shop", "b",
		`{"name":"platform.start","startTime":"@01.000Z","traceId":"four"}`,
		`{"name":"function","startTime":"@02.300Z","logs":"[Function]of four, on another instance"}`)
	write("other", "a", `{"name":"function","startTime":"@01.100Z","logs":"[Function]of another function"}`)
	want := strings.ReplaceAll(strings.TrimPrefix(`
b four
  @02.300Z [Function]of four, on another instance
a one
  @01.100Z [Function]of one
  @01.250Z [Function]of one, and late
a two
  @02.100Z [Function]café, of two
a three
  @02.400Z [Function]says that it is of three
  @02.600Z [Function]of three
a ? of 0
  @00.000Z [Function]before all
a ? of 2
  @02.300Z [Function]of two or three
`, "\n"), "@", "2026-03-01T12:00:")
	output := func(name string, args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), name, append(args, k.Bootstrap(), "readers", "shop")...).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Logf("%s", exit.Stderr)
		}
		return string(out), err
	}
	for name, run := range map[string]func() (string, error){
		"Go":     func() (string, error) { return output("go", "run", "./readers") },
		"Python": func() (string, error) { return output("python3", "readers/reader.py") },
		"Java": func() (string, error) {
			return kafkatest.RunSource(t.Context(), "readers/Reader.java", k.Bootstrap(), "readers", "shop")
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := run()
			if err != nil || got != want {
				t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, want)
			}
		})
	}
}
