package decode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The bodies of the tests and benchmarks: one third platform reports with metrics, one third function
// logs, one third extension logs.

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

var words = strings.Fields("request handled in ms user cart order checkout cache miss upstream retry pool " +
	"connection timeout bytes sent received query select update insert lambda warm cold start finished")

var lightEscapes = []string{`\n`, `\t`, `\"`, `\u00e4`}

var heavyEscapes = []string{`\"id\":\"`, `\",\"`, `\n`, `\\`, `\t`, `\":`, `\"`, `\"`}

// logText is about n bytes of escaped log text with an escape every gap words or so.
func logText(r *rand.Rand, n, gap int, escapes []string) string {
	var s strings.Builder
	for s.Len() < n {
		s.WriteString(words[r.IntN(len(words))])
		if r.IntN(gap) == 0 {
			s.WriteString(escapes[r.IntN(len(escapes))])
		} else {
			s.WriteByte(' ')
		}
	}
	return s.String()
}

func traceID(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-11e8-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<16), r.Uint64()&(1<<48-1))
}

// profile says what the events of a body look like.
type profile struct {
	minLog, maxLog int
	gap            int
	escapes        []string
	chinese        bool
}

var (
	heavy   = profile{minLog: 80, maxLog: 400, gap: 2, escapes: heavyEscapes}
	light   = profile{minLog: 80, maxLog: 400, gap: 16, escapes: lightEscapes}
	small   = profile{minLog: 40, maxLog: 200, gap: 16, escapes: lightEscapes}
	chinese = profile{minLog: 80, maxLog: 400, gap: 16, escapes: lightEscapes, chinese: true}
)

func (f profile) event(r *rand.Rand, kind int) []byte {
	at := fmt.Sprintf("2023-02-01T00:%02d:%02d.%03dZ", r.IntN(60), r.IntN(60), r.IntN(1000))
	if kind%3 == 0 {
		return fmt.Appendf(nil, `{"name": "platform.report", "startTime": "%s", "traceId": "%s", "endTime": "%s", "status": "success", `+
			`"metrics": {"durationMs": %.1f, "billingDurationMS": %d, "memoryUsed": %.1f, "memorySize": 128, "podName": "pool22-300-128-fusion-%08x-4g77v"}}`,
			at, traceID(r), at, r.Float64()*100, r.IntN(100), r.Float64()*100, r.Uint32())
	}
	name, prefix := "function", "[Function]"
	if kind%3 == 2 {
		name, prefix = "extension", "[Extension]"
	}
	text := logText(r, f.minLog+r.IntN(f.maxLog-f.minLog), f.gap, f.escapes)
	if f.chinese {
		text = strings.ReplaceAll(text, "o", "日志")
	}
	return fmt.Appendf(nil, `{"name": "%s", "startTime": "%s", "logs": "%s%s"}`, name, at, prefix, text)
}

func (f profile) elements(r *rand.Rand, n int) [][]byte {
	els := make([][]byte, n)
	for i := range els {
		els[i] = f.event(r, i)
	}
	return els
}

func array(els [][]byte) []byte {
	return append(append([]byte("["), bytes.Join(els, []byte(","))...), ']')
}

// body is an array of about size bytes, and the number of its events.
func (f profile) body(size int) ([]byte, int) {
	r := newRand(1)
	b, n := []byte("["), 0
	for len(b) < size {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, f.event(r, n)...)
		n++
	}
	return append(b, ']'), n
}
