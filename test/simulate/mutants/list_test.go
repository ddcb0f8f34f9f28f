package main

import "testing"

// TestMutantsApply fails when an edit has no place in the code any more, or several: it would test nothing.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	for i := range mutants {
		m := &mutants[i]
		if names[m.name] {
			t.Errorf("two mistakes are called %q", m.name)
		}
		names[m.name] = true
		if _, err := m.apply("../../.."); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if len(mutants) < 30 {
		t.Errorf("%d mistakes, want 30 at least", len(mutants))
	}
}
