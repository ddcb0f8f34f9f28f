package main

import (
	"fmt"
	"strings"
	"testing"
)

// What is not known has no header; what the platform says replaces what the environment said.
func TestOrigin(t *testing.T) {
	t.Setenv("RUNTIME_FUNC_NAME", "from-env")
	t.Setenv("RUNTIME_FUNC_VERSION", "")
	o := newOrigin("host-1")
	say := func() string {
		var s []string
		for _, h := range o.list() {
			s = append(s, fmt.Sprintf("%s=%s", h.Key, h.Value))
		}
		return strings.Join(s, " ")
	}
	if got := say(); got != "ingest-instance=host-1 ingest-function=from-env" {
		t.Error(got)
	}
	o.function("f", "$LATEST")
	if got := say(); got != "ingest-instance=host-1 ingest-function=f ingest-version=$LATEST" {
		t.Error(got)
	}
}
