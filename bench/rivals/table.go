package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// line is a row for a terminal.
func (r *row) line() string {
	return fmt.Sprintf("%-14s %-22s %8d acked, %.2f s longest, %d bodies answered otherwise; %d lost, %d doubled, %d refused but there, %d out of order; %.2f us, %d MiB",
		r.fault, r.program, r.acked, r.longest.Seconds(), r.otherwise, r.lost, r.doubled, r.refused, r.disordered, micros(r), r.peakRSS>>20)
}

func micros(r *row) float64 { return float64(r.perEvent.Nanoseconds()) / 1000 }

// table is Markdown.
func table(rows []*row) string {
	var b strings.Builder
	b.WriteString("| fault | program | 200 means | events answered 200 | longest wait for a 200 | bodies answered otherwise | lost | doubled | answered 503, yet there | out of order | CPU per event | peak memory |\n" +
		"|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %.2f s | %d | %d | %d | %d | %d | %.2f µs | %d MiB |\n",
			r.fault, r.program, r.answers, r.acked, r.longest.Seconds(), r.otherwise, r.lost, r.doubled, r.refused, r.disordered, micros(r), r.peakRSS>>20)
	}
	return b.String()
}

const begin, end = "<!-- make rivals -->\n", "<!-- end -->"

// document replaces what stands between the marks of a page.
func document(path, text string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return errors.New(path + " has no marks")
	}
	return os.WriteFile(path, []byte(before+begin+text+end+after), 0o644)
}
