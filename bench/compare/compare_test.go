package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAlternate: each side runs the benchmark of its own tree, as often as there are rounds.
func TestAlternate(t *testing.T) {
	dir := t.TempDir()
	var sides []*side
	for _, name := range []string{"base", "new"} {
		tree := filepath.Join(dir, name)
		for file, text := range map[string]string{
			"go.mod": "module x\n\ngo 1.26\n",
			"x_test.go": "package x\n\nimport \"testing\"\n\nfunc BenchmarkX(b *testing.B) {\n\tfor b.Loop() {\n\t}\n\tb.ReportMetric(1, \"" +
				name + "\")\n}\n",
		} {
			if err := os.MkdirAll(tree, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(tree, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		sides = append(sides, &side{name: name, tree: tree})
	}
	s := &settings{packages: ".", bench: "X", benchtime: "1x", rounds: 3}
	if err := alternate(t.Context(), s, sides, dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	for i, other := range []string{"new", "base"} {
		text := sides[i].results.String()
		if strings.Count(text, "1.000 "+sides[i].name) != 3 || strings.Contains(text, "1.000 "+other) {
			t.Errorf("%s:\n%s", sides[i].name, text)
		}
	}
}
