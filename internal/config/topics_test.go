package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTopicsOfCategories(t *testing.T) {
	env := map[string]string{"INGEST_BROKERS": "h:1", "INGEST_TOPIC": "a"}
	c := mustParse(t, env, "serve", "--topic-platform=b", "--topic-function=a", "--topic-extension=b")
	if got := c.Topics(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("topics %q: names that are the same are one topic", got)
	}
	if c.TopicIndex(c.TopicPlatform) != 1 || c.TopicIndex(c.TopicFunction) != 0 || c.TopicIndex(c.TopicExtension) != 1 || c.TopicIndex("") != 0 || c.TopicIndex("other") != -1 {
		t.Error("a topic is at another place")
	}
	for _, bad := range []string{"--topic-platform=a/b", "--topic-function=a.dlq", "--topic-extension=.."} {
		c := mustParse(t, env, "serve", bad)
		name, _, _ := strings.Cut(bad[2:], "=")
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "--"+name) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
