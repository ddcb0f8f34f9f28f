// Command readers prints the log of a function by invocation, from a topic that ingest wrote with --headers=standard:
//
//	go run ./test/readers BROKER TOPIC FUNCTION
//
// reader.py and Reader.java do the same, and docs/consuming.md says how they judge. They are examples: they read the
// whole topic and hold it in memory.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// event is what a reader needs of a record.
type event struct {
	instance, start string // who wrote it, and in which start of the process
	number          int64  // dense within a start

	Name      string `json:"name"`
	TraceID   string `json:"traceId"`
	StartTime string `json:"startTime"`
	EndTime   string `json:"endTime"`
	Logs      string `json:"logs"`
}

// invocation is one call of the function. Times are RFC 3339 in UTC with milliseconds: they compare as text.
type invocation struct {
	instance, trace, begin, end string // end "": not known
	done                        bool   // its report gave the end
	lines                       []string
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: readers BROKER TOPIC FUNCTION")
		os.Exit(2)
	}
	events, err := read(context.Background(), os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, "readers:", err)
		os.Exit(1)
	}
	report(os.Stdout, events)
}

// read returns the events of a function that are in the topic now.
func read(ctx context.Context, broker, topic, function string) (events []event, err error) {
	conn, err := kafka.DialContext(ctx, "tcp", broker)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	partitions, err := conn.ReadPartitions(topic)
	if err != nil {
		return nil, err
	}
	for _, p := range partitions {
		leader, err := kafka.DialLeader(ctx, "tcp", broker, topic, p.ID)
		if err != nil {
			return nil, err
		}
		first, last, err := leader.ReadOffsets()
		leader.Close()
		if err != nil {
			return nil, err
		}
		r := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{broker}, Topic: topic, Partition: p.ID,
			MaxWait: 100 * time.Millisecond, // Close waits for the fetch behind the last record
		})
		for at := first; at < last && err == nil; {
			var m kafka.Message
			if m, err = r.ReadMessage(ctx); err == nil {
				at = m.Offset + 1
				if e, ok := take(m, function); ok {
					events = append(events, e)
				}
			}
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
		if err != nil {
			return nil, err
		}
	}
	sort.Slice(events, func(i, j int) bool {
		if events[i].start != events[j].start {
			return events[i].start < events[j].start
		}
		return events[i].number < events[j].number
	})
	return events, nil
}

// take reads a record; false: it is a mark, or another function's.
func take(m kafka.Message, function string) (e event, ok bool) {
	h := map[string]string{}
	for _, header := range m.Headers {
		h[header.Key] = string(header.Value)
	}
	if h["ingest-mark"] != "" || h["ingest-function"] != function || json.Unmarshal(m.Value, &e) != nil {
		return e, false
	}
	start, number, _ := strings.Cut(h["ingest-seq"], "-")
	e.instance, e.start = h["ingest-instance"], start
	e.number, _ = strconv.ParseInt(number, 10, 64)
	for _, s := range []*string{&e.Name, &e.TraceID, &e.StartTime, &e.EndTime, &e.Logs} {
		*s = strings.TrimSpace(*s) // the platform's own samples have stray blanks
	}
	e.Name = strings.ToLower(e.Name)
	return e, true
}

// report prints log lines, sorted to the invocations.
func report(w io.Writer, events []event) {
	all := map[string]*invocation{}
	var order []*invocation
	of := func(e *event) *invocation {
		v := all[e.instance+" "+e.TraceID]
		if v == nil {
			v = &invocation{instance: e.instance, trace: e.TraceID}
			all[e.instance+" "+e.TraceID] = v
			order = append(order, v)
		}
		return v
	}
	for i := range events {
		switch e := &events[i]; {
		case e.TraceID == "":
		case e.Name == "platform.start":
			of(e).begin = e.StartTime
		case e.Name == "platform.runtimedone" && !of(e).done:
			of(e).end = e.StartTime
		case e.Name == "platform.report":
			of(e).end, of(e).done = e.EndTime, true
		}
	}
	var open []string
	for i := range events {
		e := &events[i]
		if e.Name != "function" {
			continue
		}
		line := e.StartTime + " " + e.Logs
		if e.TraceID != "" {
			of(e).lines = append(of(e).lines, line)
			continue
		}
		// It belongs to an invocation for certain if it was written in the time of exactly one.
		var in []*invocation
		for _, v := range order {
			if v.instance == e.instance && v.begin != "" && v.begin <= e.StartTime && (v.end == "" || e.StartTime <= v.end) {
				in = append(in, v)
			}
		}
		if len(in) == 1 {
			in[0].lines = append(in[0].lines, line)
		} else {
			open = append(open, fmt.Sprintf("%s ? of %d\n  %s\n", e.instance, len(in), line))
		}
	}
	sort.SliceStable(order, func(i, j int) bool {
		return order[i].begin+" "+order[i].trace < order[j].begin+" "+order[j].trace
	})
	for _, v := range order {
		if len(v.lines) > 0 {
			fmt.Fprintf(w, "%s %s\n  %s\n", v.instance, v.trace, strings.Join(v.lines, "\n  "))
		}
	}
	fmt.Fprint(w, strings.Join(open, ""))
}
