package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/oracle"
)

func TestAnotherRival(t *testing.T) {
	var s settings
	others, err := s.parse([]string{"-rival", "vector=vector --config {dir}/v.yaml", "-rival", "mine=./mine {listen}"})
	if err != nil || len(others) != 2 || others[0].name != "vector" || others[1].bin != "./mine" || !slices.Equal(others[0].args, []string{"--config", "{dir}/v.yaml"}) {
		t.Errorf("%v %v", others, err)
	}
	for _, bad := range [][]string{{"-rival", "vector"}, {"-rival", "=x"}, {"-rival", "x="}, {"more"}} {
		if _, err := s.parse(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Nothing that the oracle found is left out of the table.
func TestTable(t *testing.T) {
	r := &row{program: "p", answers: "never", fault: "none", otherwise: 3, longest: 1500 * time.Millisecond, peakRSS: 20 << 20}
	r.judged(&oracle.Report{Acked: 100, Delivered: 200, Lost: 4, Doubled: 5, Repeated: 6, RefusedDelivered: 7, OutOfOrder: 8, OpenOutOfOrder: 9}, time.Millisecond)
	want := "| none | p | never | 100 | 1.50 s | 3 | 4 | 11 | 7 | 17 | 10.00 µs | 20 MiB |\n"
	if got := table([]*row{r}); !strings.HasSuffix(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
	page := filepath.Join(t.TempDir(), "page.md")
	for range 2 {
		if _, err := os.Stat(page); err != nil {
			if err := os.WriteFile(page, []byte("a\n"+begin+"old\n"+end+"\nb\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := document(page, "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(page); err != nil || string(text) != "a\n"+begin+"new\n"+end+"\nb\n" {
		t.Errorf("%v %q", err, text)
	}
}
