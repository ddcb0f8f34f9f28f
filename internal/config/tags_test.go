package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTags(t *testing.T) {
	for text, want := range map[string]string{
		"env=prod,team = x ,empty=":         "",
		"env":                               "must be NAME=VALUE",
		"=v":                                "must be NAME=VALUE",
		"a b=v":                             "must be NAME=VALUE",
		"env=a,env=b":                       "stands there twice",
		"env=a\x00b":                        "must be printable",
		"env=\xff":                          "must be printable",
		"env=" + strings.Repeat("x", 1<<10): "at most 16 tags",
		strings.TrimSuffix(strings.Repeat("a=b,", 17), ","): "at most 16 tags",
	} {
		c := &Config{Headers: HeadersStandard, Tags: strings.Split(text, ",")}
		var p Problems
		c.checkTags(&p)
		if (want == "") != (len(p) == 0) || !strings.Contains(p.Error(), want) {
			t.Errorf("%q: %v, want %q", text, p, want)
		}
	}
	c := &Config{Headers: HeadersNone, Tags: []string{"a=b", "c = d "}}
	var p Problems
	if c.checkTags(&p); len(p) != 1 || !strings.Contains(p[0], "needs --headers") {
		t.Errorf("without headers: %v", p)
	}
	if got := c.TagList(); !slices.Equal(got, []Tag{{"a", "b"}, {"c", "d"}}) {
		t.Errorf("%v", got)
	}
}
