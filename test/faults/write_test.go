package faults

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	resultsFile = "../../bench/results/faults.json"
	pageFile    = "../../docs/guarantees.md"
	tableBegin  = "<!-- The table is written by make faults. -->\n"
	tableEnd    = "<!-- The end of the table. -->\n"
)

// shown are the results of this run, in order.
var shown struct {
	sync.Mutex
	list []*result
}

// show adds a line to the table.
func show(r *result) {
	shown.Lock()
	defer shown.Unlock()
	shown.list = append(shown.list, r)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if text, short := samples.report(); text != "" {
		fmt.Println(text)
		if code == 0 && len(short) > 0 {
			fmt.Println(strings.Join(short, "\n"))
			code = 1
		}
	}
	if *write && len(shown.list) > 0 {
		if err := writeAll(shown.list); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// writeAll puts the results in the place of former ones of the same row and mode, and writes the table anew.
func writeAll(list []*result) error {
	old, err := os.ReadFile(resultsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var former []*result
	if len(old) > 0 {
		if err := json.Unmarshal(old, &former); err != nil {
			return err
		}
	}
	list = merge(former, list)
	out, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(resultsFile, append(out, '\n'), 0o644); err != nil {
		return err
	}
	page, err := os.ReadFile(pageFile)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(page), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		return errors.New(pageFile + " has no place for the table")
	}
	return os.WriteFile(pageFile, []byte(before+tableBegin+"\n"+table(list)+"\n"+tableEnd+after), 0o644)
}

type rank struct{ row, mode int }

// merge returns the results in the order of the rows; of each the newest, and none of rows that are no more.
func merge(former, newer []*result) []*result {
	place := map[string]rank{}
	for i, r := range everyRow() {
		for j, m := range r.modes {
			place[r.fault+"/"+m.String()] = rank{i, j}
		}
	}
	latest := map[rank]*result{}
	for _, r := range append(former, newer...) {
		if at, ok := place[r.Fault+"/"+mode{r.Ack, r.Spool}.String()]; ok {
			latest[at] = r
		}
	}
	return slices.SortedFunc(maps.Values(latest), func(a, b *result) int {
		pa, pb := place[a.Fault+"/"+mode{a.Ack, a.Spool}.String()], place[b.Fault+"/"+mode{b.Ack, b.Spool}.String()]
		return cmp.Or(cmp.Compare(pa.row, pb.row), cmp.Compare(pa.mode, pb.mode))
	})
}

// table is Markdown.
func table(list []*result) string {
	var b strings.Builder
	b.WriteString("| fault | ack | sent | acked | delivered | acked lost | doubled | out of order | dead-lettered | dropped | possibleDuplicates | duplicatesSuppressed | frames replayed | promise kept | test |\n")
	b.WriteString("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n")
	for _, r := range list {
		n := func(v int) string { return figure(int64(v)) }
		kept := r.Kept
		if r.Note != "" {
			kept += " (" + r.Note + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | `%s` |\n",
			r.Fault, mode{r.Ack, r.Spool}, n(r.Sent), n(r.Acked), n(r.Delivered), n(r.Lost), n(r.Doubled), n(r.OutOfOrder),
			figure(r.DeadLettered), reasons(r.Dropped), figure(r.PossibleDuplicates), figure(r.DuplicatesSuppressed), figure(r.ReplayedFrames), kept, r.Test)
	}
	return b.String()
}
