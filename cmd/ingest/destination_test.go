package main

import (
	"reflect"
	"slices"
	"testing"

	"functiongraph-ingest/internal/config"
)

// Each word that a setting of Kafka declares is known to the sink, and means something of its own.
func TestEveryDeclaredWordMeansSomethingToTheSink(t *testing.T) {
	call(t, "version") // clears the environment
	tried := 0
	for _, s := range config.Settings() {
		if !slices.Contains([]string{"ack", "spool-full", "stuck-partition", "keyless", "headers", "idempotence", "codec"}, s.Name) {
			continue
		}
		var seen []any
		for _, word := range s.Values {
			k, err := kafkaConfig(parsed(t, "serve", "--brokers=a:1,a:1, b:2", "--topic=t", "--"+s.Name+"="+word), config.Budget{})
			if err != nil {
				t.Errorf("--%s=%s: %v", s.Name, word, err)
			}
			if !slices.Equal(k.Brokers, []string{"a:1", "b:2"}) {
				t.Errorf("brokers %q", k.Brokers)
			}
			k.Linger = 0 // its default follows --ack
			for _, other := range seen {
				if reflect.DeepEqual(other, k) {
					t.Errorf("--%s=%s is as good as another word of %q", s.Name, word, s.Values)
				}
			}
			seen = append(seen, k)
			tried++
		}
	}
	if tried < 18 {
		t.Errorf("only %d words were tried", tried)
	}
	if _, err := kafkaConfig(&config.Config{Codec: "none", Ack: "never"}, config.Budget{}); err == nil || err.Error() != "--ack=never is not known to the Kafka sink" {
		t.Errorf("%v", err)
	}
}
