package main

import (
	"go/parser"
	"go/token"
	"testing"
)

// TestMutantsApply fails when an edit has no place in the code any more, or several, or leaves what is no Go: it would test
// nothing.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	for i := range mutants {
		m := &mutants[i]
		if names[m.name] {
			t.Errorf("two mistakes are called %q", m.name)
		}
		names[m.name] = true
		edited, err := m.apply("../../..")
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for file, source := range edited {
			if _, err := parser.ParseFile(token.NewFileSet(), file, source, 0); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
	}
	if len(mutants) < 30 {
		t.Errorf("%d mistakes, want 30 at least", len(mutants))
	}
}
