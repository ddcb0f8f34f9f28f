package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// checked runs ingest check as a process. Ports are those that the system chooses, unless more says otherwise.
func checked(t *testing.T, more ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(proc.Build(t), append([]string{"check", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"}, more...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// What check finds on a real cluster, and that nothing was written or made by looking.
func TestCheckLooksAtARealCluster(t *testing.T) {
	t.Parallel()
	k := kafkatest.Start(t, kafkatest.WithSASL(), kafkatest.WithACLs())
	must(t, k.SetPassword("all", "right"))
	must(t, k.SetPassword("reader", "right"))
	must(t, k.SetPassword("nobody", "right"))
	must(t, k.SetPassword("limited", "right"))
	k.Topic(t, "events", 3, nil)
	k.Topic(t, "events.dlq", 1, nil)
	tiny := map[string]string{"max.message.bytes": "100000", "message.timestamp.before.max.ms": "2000"}
	k.Topic(t, "tiny", 1, tiny)
	k.Topic(t, "compacted", 1, map[string]string{"cleanup.policy": "compact"})
	for _, topic := range []string{"events", "events.dlq", "tiny", "compacted", "compacted.dlq"} {
		must(t, k.Grant("all", topic, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs))
		must(t, k.Grant("limited", topic, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe))
		must(t, k.Grant("reader", topic, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe))
	}
	must(t, k.Grant("all", "", kmsg.ACLOperationDescribe)) // so that it is told what it may not do
	must(t, k.Grant("all", "missing.dlq", kmsg.ACLOperationDescribe))
	must(t, k.Grant("all", "missing", kmsg.ACLOperationDescribe, kmsg.ACLOperationWrite))
	must(t, k.Grant("all", "tiny.dlq", kmsg.ACLOperationDescribe, kmsg.ACLOperationWrite))
	dead, err := net.Listen("tcp", "127.0.0.1:0") // a port on which nobody answers afterwards
	must(t, err)
	must(t, dead.Close())
	silent, err := net.Listen("tcp", "127.0.0.1:0") // and one that takes connections and says nothing
	must(t, err)
	defer silent.Close()

	must(t, k.Grant("all", "", kmsg.ACLOperationDescribeConfigs)) // quotas
	must(t, k.Grant("limited", "", kmsg.ACLOperationDescribeConfigs))
	setQuota(t, k, "slow", 1_000)
	setQuota(t, k, "quick", 50<<20)
	limited := "limited"
	alterQuotas(t, k, kadm.ClientQuotaEntityComponent{Type: "user", Name: &limited},
		kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Value: 2_000}, kadm.AlterClientQuotaOp{Key: "request_percentage", Value: 50})

	login := func(user, password string) string {
		return "--sasl=" + user + ":" + password + " --sasl-mechanism=SCRAM-SHA-256 --brokers=" + k.SASL()
	}
	good := login("all", "right")
	for _, tt := range []struct {
		name, args string
		code       int
		want       []string // in stdout or stderr
	}{
		{"all is well", "--topic=events " + good, 0, []string{"# ok: broker " + k.SASL() + ": answers", "# ok: topic events: 3 partitions, all with a leader; may be written",
			"# ok: dead-letter topic events.dlq: 1 partitions", "# ok: idempotent producer: allowed", "# ok: quotas: none slows this client down", "# everything that was looked at is well"}},
		{"without login", "--topic=events --brokers=" + k.Bootstrap(), 0, []string{"# ok: topic events: 3 partitions, all with a leader; may be written"}},
		{"wrong port", "--topic=events --brokers=" + dead.Addr().String(), 1, []string{"ingest: broker " + dead.Addr().String() + ": nothing listens there", "--brokers"}},
		{"one of two is wrong", "--topic=events " + good + "," + dead.Addr().String(), 0, []string{"ingest: warning: broker " + dead.Addr().String() + ": nothing listens there"}},
		{"no answer", "--topic=events --request-timeout=300ms --brokers=" + silent.Addr().String(), 1, []string{": no answer in time", "--brokers"}},
		{"no such name", "--topic=events --brokers=no.such.host.invalid:9092", 1, []string{"broker no.such.host.invalid:9092: ", "correct --brokers"}},
		{"wrong password", "--topic=events " + login("all", "wrong"), 1, []string{"the login is refused: correct --sasl-user and --sasl-password"}},
		{"other mechanism", "--topic=events " + strings.Replace(good, "SCRAM-SHA-256", "PLAIN", 1), 1, []string{"does not offer this kind of login: set --sasl-mechanism"}},
		{"login where none is taken", "--topic=events --sasl=all:right --brokers=" + k.Bootstrap(), 1, []string{"ingest: broker " + k.Bootstrap() + ": "}},
		{"no login where one is asked for", "--topic=events --brokers=" + k.SASL(), 1, []string{"ingest: broker " + k.SASL() + ": ", "--sasl"}},
		{"TLS to a port without", "--tls --topic=events --brokers=" + k.Bootstrap(), 1, []string{"--tls"}},
		{"missing topic", "--topic=missing " + good, 1, []string{"ingest: topic missing: does not exist: create the topic, or set --create-topic"}},
		{"one of several topics is missing", "--topic=events --topic-platform=tiny --topic-function=missing --topic-extension=events " + good, 1, []string{
			"ingest: topic missing: does not exist: create the topic, or set --create-topic", "# ok: topic events: 3 partitions", "warning: topic tiny: takes batches"}},
		{"missing topic that will be made", "--topic=missing --create-topic --brokers=" + k.Bootstrap(), 0, []string{"# note: topic missing: does not exist and is made at the start"}},
		{"missing topic that may not be made", "--topic=missing --create-topic " + good, 0, []string{"warning: topic missing: does not exist, and --create-topic may not be allowed"}},
		{"missing dead-letter topic", "--topic=events --dead-letter-topic=none --brokers=" + k.Bootstrap(), 0, []string{"# note: dead-letter topic none: does not exist and is made with the first dead letter"}},
		{"topic that may not be written", "--topic=events " + login("reader", "right"), 1, []string{"ingest: topic events: may not be written: grant WRITE", "ingest: dead-letter topic events.dlq: may not be written", "ingest: idempotent producer: is denied: grant WRITE on the topic (brokers before 2.8: IDEMPOTENT_WRITE", "its configuration was not looked at"}},
		{"topic that may not be seen", "--topic=events " + login("nobody", "right"), 1, []string{"ingest: topic events: access is denied: grant DESCRIBE and WRITE"}},
		{"prefer", "--idempotence=prefer --topic=events " + login("reader", "right"), 1, []string{"warning: idempotent producer: is denied; with --idempotence=prefer events are sent without"}},
		{"bounds of the topic", "--topic=tiny --spool-dir=" + filepath.Join(t.TempDir(), "new") + " " + good, 0, []string{
			"warning: topic tiny: takes batches of at most 97.7KiB, less than --batch-bytes=256KiB", "--batch-bytes=97KiB",
			"warning: topic tiny: refuses the time of events that waited for longer than 2s", "does not exist and is made at the start"}},
		{"low quota", "--topic=events --client-id=slow " + good, 0, []string{"ingest: warning: quotas: producer_byte_rate=1000 is in force", "set for client id slow", "raise it, or set another --client-id"}},
		{"low quota without login", "--topic=events --client-id=slow --brokers=" + k.Bootstrap(), 0, []string{"ingest: warning: quotas: producer_byte_rate=1000 is in force"}},
		{"high quota", "--topic=events --client-id=quick " + good, 0, []string{"# note: quotas: producer_byte_rate=52428800 is in force"}},
		{"quota of the user", "--topic=events --client-id=slow " + login("limited", "right"), 0, []string{"producer_byte_rate=2000 is in force", "set for user limited:", "# note: quotas: request_percentage=50 is in force"}},
		{"quotas that may not be seen", "--topic=events " + login("reader", "right"), 1, []string{"# note: quotas: could not be looked at: DESCRIBE_CONFIGS on the cluster is denied"}},
		{"compacted", "--topic=compacted --dead-letter-topic=compacted.dlq " + good, 0, []string{"warning: topic compacted: is compacted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := checked(t, strings.Fields(tt.args)...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("%q is not told", want)
				}
			}
			if strings.Contains(stdout+stderr, ":right") || strings.Contains(stdout+stderr, ":wrong") {
				t.Error("the password is told")
			}
			if t.Failed() {
				_, found, _ := strings.Cut(stdout, "# memory-limit")
				t.Logf("stderr:\n%s\nstdout:\n%s", stderr, found)
			}
		})
	}
	for _, topic := range []string{"events", "events.dlq", "tiny", "compacted"} {
		if n, err := k.Count(topic); n != 0 || err != nil {
			t.Errorf("topic %s: %d records, %v", topic, n, err)
		}
	}
	if leaders, err := k.Leaders("missing"); err == nil {
		t.Errorf("topic missing was made: %v", leaders)
	}

	_, stdout, _ := checked(t, append(strings.Fields(good), "--json", "--topic=events")...)
	var report struct {
		Result   string
		Settings []struct{ Name, Value, Source string }
		Findings []struct{ Level, Subject, Text string }
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || report.Result != "ok" || len(report.Findings) < 6 || len(report.Settings) < 40 {
		t.Errorf("--json: %v\n%s", err, stdout)
	}
}

// Beside a process that runs with the same settings check names who has the ports and the spool.
func TestCheckBesideARunningProcess(t *testing.T) {
	t.Parallel()
	k := kafka(t)
	k.Topic(t, "check-beside", 1, nil)
	dir := filepath.Join(t.TempDir(), "spool")
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), "check-beside", "--spool-dir", dir))
	deadline := time.Now().Add(time.Minute)
	for {
		code, _, stderr := checked(t, "--brokers="+k.Bootstrap(), "--topic=check-beside", "--spool-dir="+dir, "--listen="+p.Listen, "--admin="+p.Admin)
		if code == 1 && strings.Contains(stderr, "--listen: "+p.Listen+" is in use") &&
			strings.Contains(stderr, "--admin: "+p.Admin+" is in use") && strings.Contains(stderr, "spool "+dir+": is in use by process ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("exit code %d\n%s", code, stderr)
		}
	}
	if code, _ := p.MustStop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// The limit of descriptors that check names is the one that serve would have.
func TestCheckNamesTheLimitOfDescriptors(t *testing.T) {
	for _, tt := range []struct {
		limit, more string
		want        string
	}{
		{"64", "", "ingest: file descriptors: 64 are allowed, and 66 are needed for brokers, spool, admin address and a client: raise the limit (ulimit -n, LimitNOFILE=)"},
		{"200", "--max-conns=1000", "ingest: warning: --max-conns=1000 is lowered to 120: the process may have 200 files and sockets open (ulimit -n)"},
		{"200", "", "# ok: file descriptors: 200 are allowed, up to 199 are needed (--max-conns=120)"},
		{"200", "--max-conns=100", "# ok: file descriptors: 200 are allowed, up to 177 are needed (--max-conns=100)"},
	} {
		args := append([]string{"check", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--sink=ndjson"}, strings.Fields(tt.more)...)
		cmd := exec.Command("/bin/sh", append([]string{"-c", "ulimit -n " + tt.limit + `; exec "$0" "$@"`, proc.Build(t)}, args...)...)
		said, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code < 0 || (code == 0) == strings.HasPrefix(tt.want, "ingest: file") || !strings.Contains(string(said), tt.want) {
			t.Errorf("%s %s: %v, exit code %d, want %q\n%s", tt.limit, tt.more, err, code, tt.want, said)
		}
	}
}
