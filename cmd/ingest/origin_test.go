package main

import (
	"fmt"
	"strings"
	"testing"

	"functiongraph-ingest/internal/config"
)

// What is not known has no header; what the platform says replaces what the environment said.
func TestOrigin(t *testing.T) {
	t.Setenv("RUNTIME_FUNC_NAME", "from-env")
	t.Setenv("RUNTIME_FUNC_VERSION", "")
	t.Setenv("RUNTIME_PROJECT_ID", "")
	o := newOrigin("host-1", []config.Tag{{Name: "env", Value: "prod"}})
	say := func() string {
		var s []string
		for _, h := range o.list() {
			s = append(s, fmt.Sprintf("%s=%s", h.Key, h.Value))
		}
		return strings.Join(s, " ")
	}
	if got := say(); got != "ingest-instance=host-1 ingest-function=from-env ingest-tag-env=prod" {
		t.Error(got)
	}
	o.function("f", "$LATEST")
	if got := say(); got != "ingest-instance=host-1 ingest-function=f ingest-version=$LATEST ingest-tag-env=prod" {
		t.Error(got)
	}
	const known = "ingest-instance=host-1 ingest-function=f ingest-version=$LATEST"
	for _, c := range []struct{ urn, more string }{
		{"", ""}, {"function", ""}, {"a:b:function:c", ""}, {"urn:fss:r:p:function:default:" + strings.Repeat("x", 600), ""},
		{"urn:fss:cn-north-4:46b6:function:default:hello:latest", " ingest-region=cn-north-4 ingest-project=46b6"},
		{"sn:cn:yrk:1111:function:0@test@hello:latest", " ingest-region=yrk ingest-project=1111"},
		{"urn:fss:cn-north-4:46b6:function:default:hello:!prod", " ingest-region=cn-north-4 ingest-project=46b6 ingest-alias=prod"},
	} {
		o.urn(c.urn)
		if got := say(); got != known+c.more+" ingest-tag-env=prod" {
			t.Errorf("%s: %s", c.urn, got)
		}
	}
	before := &o.list()[0]
	o.function("f", "$LATEST")
	if &o.list()[0] != before {
		t.Error("the same answer made another list")
	}
}

// Names come from the environment and from a socket, and every record repeats them.
func TestNamesThatARecordCannotRepeat(t *testing.T) {
	for _, name := range []string{strings.Repeat("x", 64<<10), strings.Repeat("ä", 128), "a\nb", "a\x00", "\xff", "\u0085"} {
		t.Setenv("RUNTIME_FUNC_NAME", strings.ReplaceAll(name, "\x00", "\x01"))
		t.Setenv("RUNTIME_PROJECT_ID", strings.ReplaceAll(name, "\x00", "\x01"))
		o := newOrigin("host-1", nil)
		o.function(name, name)
		o.urn("urn:fss:a\x1bb:p:function:default:hello:!prod\n")
		o.instance("host-2")
		var keys []string
		for _, h := range o.list() {
			keys = append(keys, h.Key)
		}
		if got := fmt.Sprint(keys); got != "[ingest-instance ingest-project]" {
			t.Errorf("%.20q: %s", name, got)
		}
		o.function("日志", "1")
		if h := o.list(); string(h[1].Value) != "日志" {
			t.Errorf("%s", h)
		}
	}
}
