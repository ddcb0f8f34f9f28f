package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/tlsconf/tlstest"
)

// Every message of Validate, each with the settings that cause it and nothing else wrong.
func TestValidate(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 65<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	const topicRule = "is not a legal topic name: 1 to 249 letters, digits, '.', '_' or '-'"
	const brokerRule = "must be host:port, for example 10.0.0.1:9092; separate brokers with commas"
	long := strings.Repeat("x", 247)
	ca := tlstest.CA(t, "ca")
	me := ca.Issue(t, "me")
	for name, text := range map[string][]byte{"ca.pem": ca.CertPEM(), "me.pem": me.CertPEM(), "key.pem": me.KeyPEM(), "token": []byte("alpha\n"), "two": []byte("alpha beta\n"), "me.der": me.Cert.Raw, "ca.jks": []byte("\xfe\xed\xfe\xed\x00\x00\x00\x02")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		args string
		want string // "" is valid; DIR stands for the test's directory
	}{
		{"", ""},
		{"--ack=accept --admin=off --linger=0 --admit-wait=0 --no-strict", ""},
		{"--listen=:0 --admin=:0", ""},
		{"--listen=[::1]:8080 --brokers=[::1]:9092", ""},
		{"--sink=ndjson --brokers= --topic=", ""},
		{"--sasl-mechanism=SCRAM-SHA-512 --sasl-user=u --sasl-password=p --tls --tls-ca=DIR/ca.pem", ""},
		{"--tls --tls-verify=ca --tls-ca=DIR/ca.pem,DIR/me.pem --tls-min-version=1.3 --tls-cert=DIR/me.pem,DIR/key.pem", ""},
		{"--tls --tls-server-name=kafka.example --tls-cert=DIR/me.pem --tls-key=DIR/key.pem", ""},

		{"--listen=unix:/run/i.sock --admin=unix:/run/a.sock --socket-mode=600", ""},
		{"--listen-tls-cert=DIR/me.pem --listen-tls-key=DIR/key.pem --listen-tls-client-ca=DIR/ca.pem --listen-token-file=DIR/token --admin-token-file=DIR/token", ""},
		{"--cors-origin=https://example.org,http://localhost:3000,* --listen-health --drain-delay=5s", ""},
		{"--listen=unix:run/i.sock", "--listen=unix:run/i.sock: must be unix:/PATH, with a path of at most 90 bytes"},
		{"--admin=unix:", "--admin=unix:: must be unix:/PATH, with a path of at most 90 bytes"},
		{"--listen=unix:/s --admin=unix:/s", "--admin=unix:/s: must differ from --listen"},
		{"--listen=unix:/s --admin=unix:/x/../s", "--admin=unix:/x/../s: must differ from --listen"},
		{"--listen=0.0.0.0:80 --admin=127.0.0.1:80", "--admin=127.0.0.1:80: must differ from --listen"},
		{"--listen=127.0.0.1:80 --admin=[::]:80", "--admin=[::]:80: must differ from --listen"},
		{"--listen=localhost:80 --admin=127.0.0.1:80", "--admin=127.0.0.1:80: must differ from --listen"},
		{"--listen=127.0.0.1:80 --admin=[::1]:80", ""},
		{"--listen=127.0.0.1:8080-8090 --admin=127.0.0.1:8085", ""},
		{"--socket-mode=rw", "--socket-mode=rw: must be the mode of a file in octal, for example 0660"},
		{"--socket-mode=7777", "--socket-mode=7777: must be the mode of a file in octal, for example 0660"},
		{"--cors-origin=example.org", "--cors-origin=example.org: must be an origin as browsers send it, https://example.org or http://localhost:3000, or *"},
		{"--cors-origin=https://example.org/x", "--cors-origin=https://example.org/x: must be an origin as browsers send it, https://example.org or http://localhost:3000, or *"},
		{"--listen-tls-cert=DIR/me.pem", "--listen-tls-cert=DIR/me.pem: holds no private key: name the file that does in --listen-tls-key"},
		{"--listen-tls-key=DIR/key.pem", "--listen-tls-key=DIR/key.pem: needs --listen-tls-cert"},
		{"--admin-tls-client-ca=DIR/ca.pem", "--admin-tls-client-ca=DIR/ca.pem: needs --admin-tls-cert"},
		{"--admin=off --admin-token-file=DIR/token", "--admin-token-file=DIR/token: needs --admin"},
		{"--listen-token-file=DIR/none", "--listen-token-file=DIR/none: cannot be read: no such file or directory"},
		{"--listen-token-file=" + theSecret, "--listen-token-file=********: cannot be read: no such file or directory"},

		{"--log-level=loud", "--log-level=loud: must be one of debug, info, warn, error"},
		{"--ack=maybe", "--ack=maybe: must be one of accept, disk, kafka"},
		{"--ack=disk", "--ack=disk: needs --spool-dir and --sink=kafka; or use kafka or accept"},
		{"--ack=disk --spool-dir=/var/spool", ""},
		{"--sink=null", "--sink=null: must be one of kafka, ndjson"},
		{"--key=", "--key: must be the name of a field, of at most 200 bytes, without quotes, backslashes and control characters; or off"},
		{`--key=a"b`, `--key=a"b: must be the name of a field, of at most 200 bytes, without quotes, backslashes and control characters; or off`},
		{"--timestamp=now", "--timestamp=now: must be one of admitted, event"},
		{"--keyless=random", "--keyless=random: must be one of sticky, instance"},
		{"--idempotence=off", "--idempotence=off: must be one of require, prefer"},
		{"--codec=brotli", "--codec=brotli: must be one of none, snappy, lz4, zstd, gzip"},
		{"--sasl-mechanism=plain --sasl-user=u --sasl-password=p",
			"--sasl-mechanism=plain: must be one of off, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"},

		{"--listen=8080", "--listen=8080: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--listen=", "--listen: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--listen=h:65536", "--listen=h:65536: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--listen=h:http", "--listen=h:http: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--listen=h:9-8", "--listen=h:9-8: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--listen=h:0-8", "--listen=h:0-8: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--listen=h:8-", "--listen=h:8-: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--admin=on", "--admin=on: must be host:port, for example 127.0.0.1:9180, unix:/PATH, or off"},
		{"--admin=127.0.0.1:8080", "--admin=127.0.0.1:8080: must differ from --listen"},
		{"--admin=off --pprof", "--pprof=true: is served on the admin address: needs --admin"},

		{"--ack-timeout=0", "--ack-timeout=0s: must be from 100ms to 24h"},
		{"--read-timeout=-1s", "--read-timeout=-1s: must be from 100ms to 24h"},
		{"--idle-timeout=0", "--idle-timeout=0s: must be from 100ms to 24h"},
		{"--shutdown-timeout=0", "--shutdown-timeout=0s: must be from 10ms to 24h"},
		{"--request-timeout=0", "--request-timeout=0s: must be from 100ms to 24h"},
		{"--metadata-ttl=0", "--metadata-ttl=0s: must be from 1s to 24h"},
		{"--admit-wait=-1ms", "--admit-wait=-1ms: must be from 0 to 24h"},
		{"--linger=-1ms", "--linger=-1ms: must be from 0 to 1h"},
		{"--linger=2s --ack-timeout=1s", "--linger=2s: must be shorter than --ack-timeout=1s, or every delivery times out"},
		{"--linger=2s --ack-timeout=1s --ack=accept", ""},

		{"--max-conns=-1", "--max-conns=-1: must be from 1 to 1048576, or 0: as many as fit in one eighth of --memory-limit, and 1,024 from 64MiB up"},
		{"--decoders=0", "--decoders=0: must be from 1 to 256"},
		{"--ring-items=0", "--ring-items=0: must be from 1 to 524288"},
		{"--topic-partitions=0", "--topic-partitions=0: must be from 1 to 1000000, or -1"},

		{"--brokers=", "--brokers: required: the Kafka brokers, for example 10.0.0.1:9092,10.0.0.2:9092"},
		{"--brokers=a:1,b", "--brokers=b: " + brokerRule},
		{"--brokers=:9092", "--brokers=:9092: " + brokerRule},
		{"--brokers=a:0", "--brokers=a:0: " + brokerRule},
		{"--topic=", "--topic: required: the Kafka topic of the events"},
		{"--topic=a/b", "--topic=a/b: " + topicRule},
		{"--topic=..", "--topic=..: " + topicRule},
		{"--topic=" + long, "--dead-letter-topic=" + long + ".dlq: " + topicRule},
		{"--dead-letter-topic=a/b", "--dead-letter-topic=a/b: " + topicRule},
		{"--dead-letter-topic=t", "--dead-letter-topic=t: must differ from --topic"},
		{"--client-id=", "--client-id: must not be empty, for example ingest"},
		{"--sink=ndjson --output=", "--output: required with --sink=ndjson: a file, or - for stdout"},

		{"--tls-ca=x", "--tls-ca=x: needs --tls"},
		{"--tls-verify=ca", "--tls-verify=ca: needs --tls"},
		{"--tls-server-name=x", "--tls-server-name=x: needs --tls"},
		{"--tls-min-version=1.3", "--tls-min-version=1.3: needs --tls"},
		{"--tls-cert=x,y", "--tls-cert=x,y: needs --tls"},
		{"--tls-key=x", "--tls-key=x: needs --tls"},
		{"--tls --tls-verify=none", "--tls-verify=none: must be one of full, ca"},
		{"--tls --tls-verify=ca", "--tls-verify=ca: needs --tls-ca: without it any certificate of a public authority would be accepted"},
		{"--tls --tls-min-version=1.1", "--tls-min-version=1.1: must be one of 1.2, 1.3"},
		{"--tls --tls-ca=/no/ca", "--tls-ca=/no/ca: must be a file that can be read: stat /no/ca: no such file or directory"},
		{"--tls --tls-ca=DIR/ca.pem,DIR/ca.jks", "--tls-ca=DIR/ca.jks: is a Java keystore, not PEM: convert it with keytool -list -rfc -keystore DIR/ca.jks > out.pem"},
		{"--tls --tls-ca=DIR/me.der", "--tls-ca=DIR/me.der: is a certificate in DER, not PEM: convert it with openssl x509 -inform der -in DIR/me.der -out out.pem"},
		{"--tls --tls-ca=validate.go", "--tls-ca=validate.go: holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"},
		{"--tls --tls-cert=DIR/me.pem", "--tls-cert=DIR/me.pem: holds no private key: name the file that does in --tls-key"},
		{"--tls --tls-key=DIR/key.pem", "--tls-key=DIR/key.pem: needs --tls-cert"},
		{"--tls --tls-cert=DIR/ca.pem --tls-key=DIR/key.pem", "--tls-key=DIR/key.pem: holds the private key of another certificate than DIR/ca.pem"},
		{"--tls --tls-cert=DIR/me.pem --tls-key=DIR/ca.jks", "--tls-key=DIR/ca.jks: is a Java keystore, not PEM: convert it with keytool -importkeystore " +
			"-srckeystore DIR/ca.jks -destkeystore out.p12 -deststoretype PKCS12 and then openssl pkcs12 -in out.p12 -nodes -out out.pem"},
		{"--sasl-user=u", "--sasl-mechanism=off: --sasl-user and --sasl-password need PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
		{"--sasl-mechanism=PLAIN --sasl-password=p", "--sasl-user: required with --sasl-mechanism=PLAIN"},
		{"--sasl-mechanism=PLAIN --sasl-user=u",
			"--sasl-password: required with --sasl-mechanism=PLAIN; better in a file, --sasl-password-file"},
		{"--sasl-mechanism=PLAIN --sasl-user=u --sasl-password=p --sasl-password-file=f",
			"--sasl-password-file=********: give either it or --sasl-password, not both"},
		{"--sasl-mechanism=PLAIN --sasl-user=u --sasl-password-file=DIR/empty",
			"--sasl-password-file=DIR/empty: must be a file that holds the password: it is empty"},
		{"--sasl-mechanism=PLAIN --sasl-user=u --sasl-password-file=DIR/none",
			"--sasl-password-file=DIR/none: must be a file that holds the password: no such file or directory"},
		{"--sasl-mechanism=PLAIN --sasl-user=u --sasl-password-file=DIR/big",
			"--sasl-password-file=DIR/big: must be a file that holds the password: it is larger than 65536 bytes: not a secret"},

		{"--sasl-user=u:secret", "--sasl-mechanism=off: --sasl-user and --sasl-password need PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"},
		{"--sasl-user=u:secret --sasl-mechanism=PLAIN", "--sasl-user=u:********: holds a colon, and there is no password: user and password together go into --sasl"},
		{"--sasl-mechanism=u:secret --sasl-user=u --sasl-password=p", "--sasl-mechanism=********: must be one of off, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"},
		{"--brokers=u:secret@h:9092", "--brokers=********@h:9092: " + brokerRule},
		{"--brokers=SASL_SSL://h:9092", "--brokers=SASL_SSL://h:9092: " + brokerRule},
		{"--brokers=u@h:9092", "--brokers=u@h:9092: " + brokerRule},
		{"--listen=u:secret@h:9092", "--listen=********@h:9092: must be host:port, for example 127.0.0.1:8080, host:first-last, or unix:/PATH"},
		{"--topic=u:secret@h", "--topic=********@h: " + topicRule},
		{"--instance=" + long + long, "--instance=" + strings.Repeat("x", 300) + "…: must have at most 255 bytes and no control characters"},
		{"--client-id=\x01", "--client-id=\"\\x01\": must have at most 255 bytes and no control characters"},
		{"--sasl=u:p", ""},
		{"--sasl=hunter2", "--sasl: must be user:password"},
		{"--sasl=:p", "--sasl: must be user:password"},
		{"--sasl=u:", "--sasl: must be user:password"},
		{"--sasl=u:p --sasl-mechanism=PLAIN --sasl-user=u --sasl-password=p", "--sasl: give either it or --sasl-user with a password, not both"},

		{"--sasl-mechanism=OAUTHBEARER", "--oauth-token-url: it or --oauth-token-file is required with --sasl-mechanism=OAUTHBEARER"},
		{"--oauth-token-file=/f", "--oauth-token-file=/f: needs --sasl-mechanism=OAUTHBEARER"},
		{"--oauth-client-id=fn", "--oauth-client-id=fn: needs --sasl-mechanism=OAUTHBEARER"},
		{"--sasl-mechanism=OAUTHBEARER --sasl=u:p --oauth-token-file=DIR/token",
			"--sasl-mechanism=OAUTHBEARER: takes no --sasl, --sasl-user and --sasl-password: see --oauth-token-url and --oauth-token-file"},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-file=DIR/token", ""},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-file=DIR/none", "--oauth-token-file=DIR/none: must be a file that holds a token: no such file or directory"},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-file=DIR/two", "--oauth-token-file=DIR/two: must be a file that holds a token: it has a character that no token has"},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-file=DIR/token --oauth-scope=a", "--oauth-scope=a: give either it or --oauth-token-file, not both"},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-url=https://h/t?secret --oauth-client-id=fn --oauth-client-secret-file=DIR/token", ""},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-url=http://h/t?secret --oauth-client-id=fn --oauth-client-secret-file=DIR/token",
			"--oauth-token-url=http://h/t: must begin with https://, except to an address of this machine: the secret goes there"},
		{"--sasl-mechanism=OAUTHBEARER --oauth-token-url=https://h/t --oauth-client-secret-file=secret",
			"--oauth-client-id: required with --oauth-token-url\n--oauth-client-secret-file=********: must be a file that holds the secret: no such file or directory"},

		{"--spool-dir=", "--spool-dir: must be a directory, or off"},
		{"--spool-max=100KiB", "--spool-max=100KiB: must be from 1MiB to 65536GiB, or 0: a quarter of what is free at the start, at most 1GiB; in memory a quarter of --memory-limit"},
		{"--spool-max=9MiB --spool-dir=/d", "--spool-max=9MiB: must be at least 10MiB, to hold the largest event of --max-body=4MiB " +
			"with a key of that size; or 0 to derive it"},
		{"--spool-max=10MiB --spool-dir=/d", ""},
		{"--spool-max=9MiB", ""}, // no spool
		{"--spool-max=1MiB --spool-dir=/d --max-body=400KiB", ""},
		{"--spool-max=1MiB --spool-dir=/d --max-body=100KiB --batch-bytes=1MiB", "--spool-max=1MiB: must be at least two batches of --batch-bytes=1MiB, or 0 to derive it"},
		{"--spool-max=18MiB --spool-dir=/d --max-body=512MiB --memory-limit=72MiB", "--spool-max=18MiB: must be at least 19MiB, to hold the largest event of " +
			"--max-body=8MiB with a key of that size; or 0 to derive it"}, // lowered by the budget
		{"--spool-full=panic", "--spool-full=panic: must be one of block, drop-oldest, drop-newest"},

		{"--max-body=0", "--max-body=0: must be from 2B to 512MiB"},
		{"--batch-bytes=1KiB", "--batch-bytes=1KiB: must be from 16KiB to 1MiB"},
		{"--batch-bytes=65MiB --buffer-bytes=1GiB", "--batch-bytes=65MiB: must be from 16KiB to 1MiB"},
		{"--buffer-bytes=1023KiB", "--buffer-bytes=1023KiB: must hold at least 4 batches of --batch-bytes=256KiB, that is 1MiB"},
		{"--memory-limit=24MiB", "--memory-limit=24MiB: too small: connections 3MiB + runtime 14MiB + buffers 6MiB leave less than 2MiB " +
			"for bodies; at least 26MiB is needed with these --max-conns, --buffer-bytes and --batch-bytes"},
		{"--max-conns=10000", "--memory-limit=64MiB: too small: connections 166250KiB + runtime 18MiB + buffers 16MiB leave less than 2MiB " +
			"for bodies; at least 208MiB is needed with these --max-conns, --buffer-bytes and --batch-bytes"},
		{"--memory-limit=26MiB", ""},
		{"--max-conns=10000 --memory-limit=267MiB", ""},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			args := []string{"serve", "--brokers=b:9092", "--topic=t"}
			for _, a := range strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir)) {
				name, value, _ := strings.Cut(a, "=")
				switch {
				case name == "--brokers" && value == "":
					args[1] = "--client-id=ingest" // that is, leave --brokers out
				case name == "--brokers":
					args[1] = a
				default:
					args = append(args, a)
				}
			}
			got := ""
			if err := mustParse(t, nil, args...).Validate(); err != nil {
				got = err.Error()
			}
			if want := strings.ReplaceAll(tt.want, "DIR", dir); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// All problems are found at once, one line each, and each names a setting.
func TestValidateCollects(t *testing.T) {
	c := mustParse(t, nil, "serve", "--ack=maybe", "--listen=x", "--linger=-1s", "--decoders=0", "--memory-limit=1MiB",
		"--sasl-password-file=/none", "--tls-ca=x", "--spool-max=1B")
	err := c.Validate()
	problems, ok := err.(Problems)
	if !ok || len(problems) != 10 {
		t.Fatalf("%d problems: %v", len(problems), err)
	}
	for _, line := range problems {
		if !strings.HasPrefix(line, "--") || strings.Contains(line, "\n") || !strings.Contains(line, ": ") {
			t.Errorf("not a line about a setting: %q", line)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	for _, tt := range []struct{ listen, want string }{
		{"127.0.0.1:8080", "127.0.0.1:8080"},
		{":0", ":0"},
		{"[::1]:8081-8083", "[::1]:8081 [::1]:8082 [::1]:8083"},
		{"h:65535-65535", "h:65535"},
		{"bad", ""},
	} {
		c := Config{Listen: tt.listen}
		if got := strings.Join(c.ListenAddresses(), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.listen, got, tt.want)
		}
	}
}
