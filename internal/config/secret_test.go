package config

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// told is everything that a user sees of a command line, an environment and a file: problems, warnings, settings.
func told(args []string, env environment) string {
	var out bytes.Buffer
	inv, err := parseWith(args, testHost, io.Discard, env)
	if err != nil {
		return err.Error()
	}
	if inv.Config != nil {
		if err := inv.Config.Validate(); err != nil {
			out.WriteString(err.Error() + "\n")
		}
		out.WriteString(strings.Join(inv.Config.Warnings(), "\n"))
		if err := inv.Config.WriteYAML(&out); err != nil {
			panic(err)
		}
	}
	return out.String()
}

const theSecret = "hunter2secret"

// A secret that is written in an unlucky form, or into the wrong place, is in no message and no printed setting.
func TestMisplacedSecretsAreNotRepeated(t *testing.T) {
	for _, args := range [][]string{
		{"serve", "--sasl-user=u:" + theSecret},
		{"serve", "--sasl-user=u:" + theSecret, "--sasl-mechanism=PLAIN", "--sasl-password=p"},
		{"serve", "--brokers", "u:" + theSecret + "@h:9092"},
		{"serve", "--brokers=a:1,SASL_SSL://u:" + theSecret + "@h:9092,b:2"},
		{"serve", "--sasl-password=", theSecret},
		{"serve", "--sasl-password", "p", theSecret, "more"},
		{"serve", "--sasl-password-file=" + theSecret},
		{"serve", "--sasl-mechanism=" + theSecret},
		{"serve", "--sasl=" + theSecret},
		{"serve", "--sasl=u:" + theSecret, "--sasl-user=u"},
		{"serve", "--sasl-password=" + theSecret, "--sasl-password-file=/none"},
		{"serve", "--=" + theSecret}, {"serve", "---" + theSecret}, {"serve", "-=" + theSecret}, {"serve", "--u:" + theSecret},
		{"serve", "--sasl-pasword=" + theSecret}, {"serve", "--sasl-pasword", theSecret},
		{"serve", "--listen=u:" + theSecret + "@h:1"}, {"serve", "--admin=u:" + theSecret + "@h:1"},
		{"serve", "--sasl-mechanism=OAUTHBEARER", "--oauth-token-file=" + theSecret},
		{"serve", "--sasl-mechanism=OAUTHBEARER", "--oauth-client-secret-file=" + theSecret},
		{"serve", "--sasl-mechanism=OAUTHBEARER", "--oauth-token-url=" + theSecret},
		{"serve", "--sasl-mechanism=OAUTHBEARER", "--oauth-token-url=https://u:" + theSecret + "@h/"},
		{"serve", "--sasl-mechanism=OAUTHBEARER", "--oauth-token-url=https://h/?key=" + theSecret},
		{theSecret}, {"spool", theSecret}, {"spool", "ls", "d", theSecret}, {"version", theSecret}, {"check", theSecret},
		{"spool", "replay", "--sasl=" + theSecret, theSecret},
	} {
		if got := told(args, nil); got == "" || strings.Contains(got, theSecret) {
			t.Errorf("%q tells\n%s", args, got)
		}
	}
	for name, value := range map[string]string{
		"INGEST_SASL": theSecret, "INGEST_SASL_PASSWORD": theSecret, "INGEST_SASL_PASWORD": theSecret, "INGEST_SASL_PASSWORD_FILE": theSecret,
		"INGEST_SASL_MECHANISM": theSecret, "INGEST_BROKERS": "u:" + theSecret + "@h:1", "INGEST_SASL_USER": "u:" + theSecret,
	} {
		if got := told([]string{"serve"}, environment{name: value}); strings.Contains(got, theSecret) {
			t.Errorf("%s=%s tells\n%s", name, value, got)
		}
	}
}

// secretFiles are files in which a secret has a form that YAML reads as something else.
var secretFiles = []string{
	"sasl-password: SECRET\n", "sasl: SECRET\n", "sasl-password: >SECRET\n", "sasl-password: |SECRET\n", "sasl-password: |\nSECRET: x\n",
	"sasl-password: >-\nSECRET\n", "sasl-password: \"SECRET\n", "sasl-password: 'SECRET\n", "sasl-password: SECRET: x\n", "sasl-password: [SECRET\n",
	"sasl-password: {SECRET: SECRET}\n", "sasl-password: [[SECRET]]\n", "sasl-password: &SECRET x\n", "sasl-password: *SECRET\n", "sasl-password: !SECRET x\n",
	"sasl-password: @SECRET\n", "sasl-password: `SECRET`\n", "sasl-password: %SECRET\n", "sasl-password:SECRET\n", "sasl-password SECRET\n",
	"topic: t\nsasl-password SECRET\nlisten: x\n", "sasl-password:\n- SECRET\n- x: y\n", "sasl-password: a\n SECRET: b\n", "sasl-password: a\nSECRET: b\n",
	"%SECRET\n", "--- SECRET\n", "? SECRET\n: x\n", "sasl-password: x # SECRET\nfoo\n", "sasl-password: SECRET\nsasl-password: SECRET\n",
	"sasl_password: SECRET\n", "SASL-PASSWORD: SECRET\n", "sasl-pasword: SECRET\n", "sasl-password: \"\\SECRET\"\n", "sasl-password: \"\\xSECRET\"\n",
	"sasl-password: >9SECRET\n x\n", "sasl-password: |+SECRET\n x\n", "sasl-password: - SECRET\n", "sasl-password: \tSECRET\n\tSECRET\n",
	"sasl-password: ]SECRET\n", "sasl-password: }SECRET\n", "sasl-password: ,SECRET\n", "\"sasl-password\": SECRET: SECRET\n",
	"listen-token-file: SECRET\n", "admin-token-file: SECRET\n", "sasl-user: u:SECRET\n", "sasl-mechanism: SECRET\n", "sasl-password-file: SECRET\n", "brokers: [u:SECRET@h:1]\n",
}

func TestSecretsOfTheFileAreNotRepeated(t *testing.T) {
	for _, text := range secretFiles {
		text = strings.ReplaceAll(text, "SECRET", theSecret)
		if got := told([]string{"serve", "--config=" + writeFile(t, text)}, nil); strings.Contains(got, theSecret) {
			t.Errorf("%q tells\n%s", text, got)
		}
	}
}

// Nothing that is in a file panics, takes long, or comes out of it again when it is the value of a secret.
func FuzzYAML(f *testing.F) {
	for _, text := range secretFiles {
		f.Add(text)
	}
	f.Add("{topic: a, strict: false}")
	f.Add("brokers:\n- a:1\n- b:2\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4<<10 {
			return
		}
		parseYAML("f", []byte(strings.ReplaceAll(text, "SECRET", theSecret)))
		// As a whole it is a password: whatever it does to the line after it, it is not repeated.
		secret := strings.NewReplacer("\n", "", "\r", "").Replace(text)
		c := Config{sources: map[string]string{}}
		values, problems, err := parseYAML("f", []byte("sasl-password: "+theSecret+secret+"\ntopic: t\n"))
		if err != nil {
			problems = append(problems, err.Error())
		}
		var list []*value
		for _, fd := range c.fields() {
			list = append(list, &value{field: &fd, config: &c})
		}
		c.fromFile(list, values, "f")
		if got := strings.Join(append(problems, c.found...), "\n"); strings.Contains(got, theSecret) {
			t.Errorf("%q tells\n%s", text, got)
		}
	})
}
