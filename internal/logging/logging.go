// Package logging is the log of the process: its format, and a level that can change while the process runs.
//
// A line never has an attribute that says nothing (a nil error, an empty one), and never a character from elsewhere
// that a terminal acts on: both formats escape it.
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"functiongraph-ingest/internal/printable"
)

// New returns a logger that writes one line per record to w: JSON, or text of the form key=value.
func New(w io.Writer, json bool, level slog.Leveler) *slog.Logger {
	if json {
		return slog.New(slog.NewJSONHandler(escaper{w}, &slog.HandlerOptions{Level: level, ReplaceAttr: jsonAttr}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: textAttr}))
}

// textAttr leaves out what says nothing. slog quotes what is not printable.
func textAttr(_ []string, a slog.Attr) slog.Attr {
	if v := a.Value; v.Kind() == slog.KindAny && v.Any() == nil || a.Key == "error" && v.Kind() == slog.KindString && v.String() == "" {
		return slog.Attr{}
	}
	return a
}

// jsonAttr writes durations and sizes as the text format does: "2s", not nanoseconds.
func jsonAttr(groups []string, a slog.Attr) slog.Attr {
	a = textAttr(groups, a)
	switch v := a.Value.Any().(type) {
	case time.Duration:
		a.Value = slog.StringValue(v.String())
	case error, time.Time, slog.Level: // the handler has forms for them
	case []string:
		if v == nil { // else it were "null"
			a.Value = slog.AnyValue([]string{})
		}
	case fmt.Stringer:
		a.Value = slog.StringValue(v.String())
	}
	return a
}

// escaper writes lines of JSON, with characters escaped that JSON allows and terminals act on.
type escaper struct{ w io.Writer }

func (e escaper) Write(line []byte) (int, error) {
	if _, err := e.w.Write(printable.AppendJSON(nil, line)); err != nil {
		return 0, err
	}
	return len(line), nil
}
