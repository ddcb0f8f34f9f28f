package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// docs/settings.md is made from the declaration. To make it again see its head.
func TestSettingsPageIsTrue(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Markdown() {
		t.Error("docs/settings.md is out of date: go run ./cmd/ingest check --markdown > docs/settings.md")
	}
}

// The names are a contract: the variable and the key follow from the flag.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range new(Config).fields() {
		if want := "INGEST_" + strings.ToUpper(strings.ReplaceAll(f.name, "-", "_")); f.env != want {
			t.Errorf("--%s: variable %s, want %s", f.name, f.env, want)
		}
		if seen[f.name] {
			t.Errorf("--%s is declared twice", f.name)
		}
		seen[f.name] = true
	}
}

// Every number, size and duration has bounds, and its default lies within.
func TestEverySettingThatCanBeOutOfBoundsHasBounds(t *testing.T) {
	var c Config
	for _, f := range c.fields() {
		switch f.value.Interface().(type) {
		case int, Bytes, time.Duration:
			if f.min == "" || f.max == "" || f.bound(f.min) > f.bound(f.max) {
				t.Errorf("--%s: bounds %q to %q", f.name, f.min, f.max)
			}
		default:
			if f.min+f.max+f.also != "" {
				t.Errorf("--%s is no number and has bounds", f.name)
			}
		}
	}
}

// designDefaults is the settings table of the design, value by value.
var designDefaults = []struct{ setting, serve, extension string }{
	{"listen", "127.0.0.1:8080", "127.0.0.1:8081-8090"},
	{"admin", "127.0.0.1:9180", "off"},
	{"ack", "kafka", "accept"},
	{"ack-timeout", "30s", "30s"},
	{"dead-letter-topic", "t.dlq", "t.dlq"},
	{"codec", "snappy", "snappy"},
	{"linger", "1ms", "20ms"},
	{"batch-bytes", "256KiB", "256KiB"},
	{"buffer-bytes", "16MiB", "16MiB"},
	{"memory-limit", "64MiB", "32MiB"}, // of 128 MiB
	{"max-body", "4MiB", "4MiB"},
	{"admit-wait", "100ms", "100ms"},
	{"shutdown-timeout", "20s", "2s"},
	{"keyless", "sticky", "instance"},
	{"strict", "true", "true"},
	{"idempotence", "require", "require"},
	{"tls", "false", "false"},
	{"sasl-mechanism", "off", "off"},
	{"create-topic", "false", "false"},
	{"topic-partitions", "-1", "-1"},
	{"ring-items", "1024", "1024"},
	{"decoders", "1", "1"},
	{"max-conns", "0", "0"},
	{"request-timeout", "5s", "5s"},
	{"read-timeout", "30s", "30s"},
	{"idle-timeout", "5m", "5m"},
	{"metadata-ttl", "1m", "1m"},
	{"client-id", "ingest", "ingest"},
	{"instance", "testhost", "testhost"},
	{"sink", "kafka", "kafka"},
	{"log-level", "info", "info"},
	{"pprof", "false", "false"},
}

func TestDefaultsAreTheDesign(t *testing.T) {
	host := Host{Name: "testhost", MemoryBytes: 128 << 20}
	for _, cmd := range []Command{Serve, Extension} {
		c := defaultsOf(t, cmd, host)
		got := map[string]string{}
		for _, f := range c.fields() {
			got[f.name] = f.text()
		}
		for _, d := range designDefaults {
			want := d.serve
			if cmd == Extension {
				want = d.extension
			}
			if got[d.setting] != want {
				t.Errorf("%s: --%s = %q, want %q", cmd, d.setting, got[d.setting], want)
			}
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: the defaults are not valid: %v", cmd, err)
		}
	}
}

// defaultsOf parses with the defaults of cmd, whether or not it has a command line of its own yet. The
// required settings are given.
func defaultsOf(t *testing.T, cmd Command, host Host) *Config {
	t.Helper()
	args := []string{"serve", "--brokers=b:9092", "--topic=t"}
	for name, value := range commandDefaults(cmd, host) {
		args = append(args, "--"+strings.ReplaceAll(name, "_", "-")+"="+value)
	}
	cleanEnvironment(t)
	inv, err := Parse(args, host, os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	return inv.Config
}

func TestExtensionMemory(t *testing.T) {
	for _, tt := range []struct {
		instance int64
		want     Bytes
	}{
		{0, 64 * MiB}, {-1, 64 * MiB}, {64 << 20, 32 * MiB}, {128 << 20, 32 * MiB}, {192 << 20, 48 * MiB},
		{192<<20 + 12345, 48 * MiB}, {256 << 20, 64 * MiB}, {4 << 30, 64 * MiB},
	} {
		if got := extensionMemory(tt.instance); got != tt.want {
			t.Errorf("of %d: %s, want %s", tt.instance, got, tt.want)
		}
	}
}

// What check prints is a file that gives the same settings again.
func TestPrintedSettingsReadBack(t *testing.T) {
	args := []string{"serve", "--brokers=b:9092,[::1]:9093", "--topic=t", "--linger=0", "--output=-", "--no-strict",
		"--instance=a: b # 'c' \"d\"", "--tls", "--tls-ca=settings_test.go", "--idle-timeout=90m", "--max-body=1000001",
		"--client-id={x}", "--topic-partitions=-1"}
	c := mustParse(t, nil, args...)
	var out bytes.Buffer
	if err := c.WriteYAML(&out); err != nil {
		t.Fatal(err)
	}
	back := mustParse(t, nil, "serve", "--config="+writeFile(t, out.String()))
	back.ConfigFile = ""
	back.sources, c.sources = nil, nil
	if !reflect.DeepEqual(back, c) {
		t.Errorf("read back:\n%+v\nwant\n%+v\nfile:\n%s", back, c, &out)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	const password = "hunter2"
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(password+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, nil, "serve", "--sasl-password-file="+file, "--sasl-mechanism=PLAIN", "--sasl-user=u")
	if c.SASLPassword.Reveal() != password {
		t.Fatalf("password = %q", c.SASLPassword.Reveal())
	}
	var out bytes.Buffer
	c.WriteYAML(&out)
	fmt.Fprintf(&out, "%v %+v %#v %s %q\n", c, c, c, c.SASLPassword, c.SASLPassword)
	slog.New(slog.NewTextHandler(&out, nil)).Info("", "config", c, "password", c.SASLPassword)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("", "config", c, "password", c.SASLPassword)
	fmt.Fprintln(&out, c.Validate())
	if strings.Contains(out.String(), password) {
		t.Errorf("the password leaks:\n%s", &out)
	}
	if !strings.Contains(out.String(), "# sasl-password: "+fmt.Sprintf("%q", mask)) {
		t.Errorf("no mask in:\n%s", &out)
	}
}

// A login in one setting is the same as in three, and nobody sees it.
func TestLoginInOneSetting(t *testing.T) {
	for _, tt := range []struct{ mechanism, want string }{{"", "SCRAM-SHA-512"}, {"PLAIN", "PLAIN"}} {
		env := map[string]string{"INGEST_SASL": "u:hunter2:x"}
		if tt.mechanism != "" {
			env["INGEST_SASL_MECHANISM"] = tt.mechanism
		}
		c := mustParse(t, env, "serve")
		if c.SASLMechanism != tt.want || c.SASLUser != "u" || c.SASLPassword.Reveal() != "hunter2:x" {
			t.Errorf("%s, %s, %s", c.SASLMechanism, c.SASLUser, c.SASLPassword.Reveal())
		}
	}
	for _, bad := range []string{"hunter2", ":hunter2"} {
		c := mustParse(t, map[string]string{"INGEST_SASL": bad}, "serve")
		var out bytes.Buffer
		c.WriteYAML(&out)
		fmt.Fprintf(&out, "%+v %v", c, c.Validate())
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s leaks:\n%s", bad, &out)
		}
	}
}

// A list grows on the command line and replaces the one of a weaker source.
func TestLists(t *testing.T) {
	c := mustParse(t, map[string]string{"INGEST_BROKERS": "e:1"}, "serve", "--brokers=a:1,b:2", "--brokers", "c:3")
	if want := []string{"a:1", "b:2", "c:3"}; !reflect.DeepEqual(c.Brokers, want) {
		t.Errorf("%q, want %q", c.Brokers, want)
	}
	for _, text := range []string{"a:1, b:2", " a:1 ,b:2 ", "a:1 ,\tb:2\n"} {
		if c := mustParse(t, map[string]string{"INGEST_BROKERS": text}, "serve"); !reflect.DeepEqual(c.Brokers, []string{"a:1", "b:2"}) {
			t.Errorf("%q: %q", text, c.Brokers)
		}
	}
	if c := mustParse(t, nil, "extension", "--telemetry-types=function"); !reflect.DeepEqual(c.TelemetryTypes, []string{"function"}) {
		t.Errorf("%q", c.TelemetryTypes)
	}
}

func TestDurationText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"0s", "0s"}, {"1ms", "1ms"}, {"30s", "30s"}, {"10s", "10s"}, {"5m", "5m"}, {"60s", "1m"}, {"90s", "1m30s"},
		{"10m", "10m"}, {"1h", "1h"}, {"20h", "20h"}, {"90m", "1h30m"}, {"1h10s", "1h0m10s"},
	} {
		c := mustParse(t, nil, "serve", "--ack-timeout="+tt.in)
		if got := durationText(c.AckTimeout); got != tt.want {
			t.Errorf("%s prints as %s, want %s", tt.in, got, tt.want)
		}
	}
}
