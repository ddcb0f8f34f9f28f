package config

import (
	"strings"
	"testing"
)

// A platform that passes the function's environment on as RUNTIME_USERDATA only left an extension without brokers, and
// all telemetry was dropped as bad_config.
func TestSettingsFromUserData(t *testing.T) {
	const data = `{"INGEST_BROKERS":"u:1","INGEST_TOPIC":"u","INGEST_SASL":"me:hush","INGEST_DECODERS":2,"INGEST_STRICT":false,"OTHER":{"a":[1]}}`
	t.Run("read", func(t *testing.T) {
		c := mustParse(t, map[string]string{"RUNTIME_USERDATA": data}, "extension")
		if err := c.Validate(); err != nil || len(c.Warnings()) > 0 {
			t.Fatal(err, c.Warnings())
		}
		if c.Brokers[0] != "u:1" || c.Topic != "u" || c.SASLPassword != "hush" || c.Decoders != 2 || c.Strict {
			t.Errorf("%+v", c)
		}
		for _, s := range c.Shown() {
			if want := map[string]string{"topic": "RUNTIME_USERDATA", "sasl-password": "RUNTIME_USERDATA", "ack": "default"}[s.Name]; want != "" && s.Source != want {
				t.Errorf("%s comes from %s, want %s", s.Name, s.Source, want)
			}
		}
		var out strings.Builder
		if err := c.WriteYAML(&out); err != nil || !strings.Contains(out.String(), "# from RUNTIME_USERDATA:\n") || strings.Contains(out.String(), "hush") {
			t.Errorf("%v\n%s", err, &out)
		}
	})
	t.Run("each variable of the environment wins", func(t *testing.T) {
		c := mustParse(t, map[string]string{"RUNTIME_USERDATA": data, "INGEST_TOPIC": "e"}, "check", "--extension", "--brokers=f:1")
		if c.Topic != "e" || c.Brokers[0] != "f:1" || c.Decoders != 2 {
			t.Errorf("topic %s, brokers %v, decoders %d", c.Topic, c.Brokers, c.Decoders)
		}
	})
	t.Run("it wins over the file", func(t *testing.T) {
		c := mustParse(t, map[string]string{"RUNTIME_USERDATA": data, "INGEST_CONFIG": writeFile(t, "topic: f\nlinger: 7ms\n")}, "extension")
		if c.Topic != "u" || c.Linger.Milliseconds() != 7 {
			t.Errorf("topic %s, linger %v", c.Topic, c.Linger)
		}
	})
	t.Run("serve does not look at it", func(t *testing.T) {
		if c := mustParse(t, map[string]string{"RUNTIME_USERDATA": data}, "serve"); c.Topic != "" {
			t.Errorf("topic %s", c.Topic)
		}
	})
}

func TestUserDataThatCannotBeRead(t *testing.T) {
	for _, tt := range []struct{ data, warning, problem string }{
		{``, ``, ``},
		{`{}`, ``, ``},
		{`null`, ``, ``},
		{`hush`, `RUNTIME_USERDATA is no JSON object: no setting is taken from it`, ``},
		{`["hush"]`, `RUNTIME_USERDATA is no JSON object: no setting is taken from it`, ``},
		{`{"INGEST_TOPIC":"hush"`, `RUNTIME_USERDATA is no JSON object: no setting is taken from it`, ``},
		{`{"INGEST_TOPIC":["hush"],"INGEST_SASL":null,"INGEST_hush\n":[]}`, "INGEST_SASL in RUNTIME_USERDATA is no string and is ignored\nINGEST_TOPIC in RUNTIME_USERDATA is no string and is ignored", ``},
		{`{"INGEST_TOPC":"hush"}`, `INGEST_TOPC is no setting and is ignored, did you mean INGEST_TOPIC?`, ``},
		{`{"INGEST_DECODERS":"x"}`, ``, `--decoders: expected a whole number but got "x" (from INGEST_DECODERS in RUNTIME_USERDATA)`},
	} {
		env := map[string]string{"RUNTIME_USERDATA": tt.data, "INGEST_BROKERS": "e:1", "INGEST_TOPIC": "e"}
		c := mustParse(t, env, "extension")
		if got := strings.Join(c.Warnings(), "\n"); got != tt.warning {
			t.Errorf("%s: warnings %q, want %q", tt.data, got, tt.warning)
		}
		if got := strings.Join(complaints(t, env, "extension"), "\n"); got != tt.problem {
			t.Errorf("%s: problems %q, want %q", tt.data, got, tt.problem)
		}
	}
}
