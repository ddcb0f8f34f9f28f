package test

import (
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/oracle"
	"functiongraph-ingest/test/proc"
)

const rotationPatience = 2 * time.Minute

var (
	rotationRate  = flag.Float64("rotation.rate", 5000, "events a second in TestRotationUnderLoad")
	rotationLogin = flag.Duration("rotation.login", 3*time.Second, "age at which its broker ends a login")
)

// Certificates and the password of a broker are renewed while events flow: each is one line in the log, nothing is
// lost, nothing doubled, nobody restarts anything. The broker ends each login after 3 s, so new connections come.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	oldCA, newCA := tlstest.CA(t, "old"), tlstest.CA(t, "new")
	oldClients, newClients := tlstest.CA(t, "old clients"), tlstest.CA(t, "new clients")
	write := func(path string, contents ...[]byte) { // as tools do that renew files: all at once
		t.Helper()
		must(t, os.Rename(tlstest.Write(t, "new", contents...), path))
	}
	pair := func(ca *tlstest.Pair, name string) [][]byte {
		p := ca.Issue(t, name, tlstest.Hosts("127.0.0.1"))
		return [][]byte{p.KeyPEM(), p.CertPEM()}
	}
	secure := kafkatest.Secure{
		KeyStore:   tlstest.Write(t, "broker.pem", pair(oldCA, "broker")...),
		TrustStore: tlstest.Write(t, "clients.pem", oldClients.CertPEM(), newClients.CertPEM()), Login: true,
	}
	k := kafkatest.Start(t, kafkatest.WithSecure(secure),
		kafkatest.WithProperty("listener.name.secure.scram-sha-512.connections.max.reauth.ms", fmt.Sprint(rotationLogin.Milliseconds())))
	must(t, k.SetPassword("fn", "first"))
	k.Topic(t, "rotation", 3, nil)
	caFile := tlstest.Write(t, "ca.pem", oldCA.CertPEM())
	clientFile := tlstest.Write(t, "client.pem", pair(oldClients, "fn")...)
	passwordFile := tlstest.Write(t, "password", []byte("first\n"))
	p := proc.Start(t, proc.Serve(proc.Build(t), k.Secure(), "rotation", "--tls", "--tls-ca", caFile, "--tls-cert", clientFile,
		"--sasl-mechanism=SCRAM-SHA-512", "--sasl-user=fn", "--sasl-password-file", passwordFile))

	o := oracle.New(8)
	began := time.Now()
	run, err := load.Start(t.Context(), load.Options{Addr: p.Listen, Conns: 8, MaxRate: *rotationRate, RetryAfter: true, Recorder: o,
		Profile: load.Profile{Events: 20, Marked: true}})
	must(t, err)
	flows := func(after string) {
		t.Helper()
		start := p.MustLedger(t).Delivered
		p.WaitLedger(t, rotationPatience, "events after "+after, func(l *proc.Ledger) bool { return l.Delivered > start+2000 })
	}
	lines := func(text string) int { return strings.Count(p.Stderr(), text) }
	const files, password = `read again" setting="--tls-ca, --tls-cert, --tls-key"`, `read again" setting=--sasl-password-file`
	hasRead := func(text string, n int) {
		t.Helper()
		p.WaitLedger(t, rotationPatience, text, func(*proc.Ledger) bool { return lines(text) >= n })
		flows(text)
	}

	write(caFile, oldCA.CertPEM(), newCA.CertPEM())
	hasRead(files, 1)
	write(secure.KeyStore, pair(newCA, "broker")...)
	must(t, k.ReadStoresAgain(0, secure))
	// The broker takes its new certificate into use a moment after it has agreed to.
	shows := func(*proc.Ledger) bool {
		conn, err := tls.Dial("tcp", k.Secure(), &tls.Config{RootCAs: newCA.Pool(), Certificates: []tls.Certificate{oldClients.Issue(t, "x").TLS()}})
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	p.WaitLedger(t, rotationPatience, "the broker's new certificate", shows)
	write(caFile, newCA.CertPEM())
	hasRead(files, 2)

	write(clientFile, pair(newClients, "fn")...)
	hasRead(files, 3)
	write(secure.TrustStore, newClients.CertPEM())
	must(t, k.ReadStoresAgain(0, secure))
	flows("the old client certificates are refused")

	must(t, k.SetPassword("fn", "second"))
	p.WaitLedger(t, rotationPatience, "a refused login", func(*proc.Ledger) bool { return lines("SASL Authentication Failed") > 0 })
	write(passwordFile, []byte("second\n"))
	hasRead(password, 1)

	write(caFile, []byte("-----BEGIN CERTIFICATE-----\n")) // half a file
	p.WaitLedger(t, rotationPatience, "a file that is no good", func(*proc.Ledger) bool { return lines("is damaged: block 1 of PEM is not complete") > 0 })
	flows("a broken file")
	must(t, p.Signal(syscall.SIGHUP))
	p.WaitLedger(t, rotationPatience, "SIGHUP", func(*proc.Ledger) bool {
		return lines(`"read again on SIGHUP" changed=[] failed="[--tls-ca, --tls-cert, --tls-key]"`) == 1
	})
	flows("SIGHUP")
	run.Stop()
	took := time.Since(began)

	code, l := p.MustStop(t)
	if code != 0 || len(l.Dropped) != 0 {
		t.Errorf("exit %d, ledger %+v", code, l)
	}
	if a, b := lines(files), lines(password); a != 3 || b != 1 {
		t.Errorf("%d and %d lines of what was read again, want 3 and 1", a, b)
	}
	r := o.MustRead(t, k.Bootstrap(), "rotation")
	t.Logf("acknowledged %d, delivered %d, %.0f a second; %d resends recognised, %d possible duplicates",
		r.Acked, r.Delivered, float64(r.Acked)/took.Seconds(), l.DuplicatesSuppressed, l.PossibleDuplicates)
	if strings.Contains(p.Stderr(), "first") || strings.Contains(p.Stderr(), "second\n") {
		t.Error("the log has a password")
	}
}

// What systemd hears of a service with Type=notify-reload and a watchdog; and SIGHUP ends nothing.
func TestSystemd(t *testing.T) {
	t.Parallel()
	name := "@ingest-" + t.Name() + t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	defer socket.Close()
	must(t, socket.SetReadDeadline(time.Now().Add(rotationPatience)))
	hear := func(want string) {
		t.Helper()
		buf := make([]byte, 200)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if got := string(buf[:n]); strings.HasPrefix(got, want) {
				return
			} else if got != "WATCHDOG=1" {
				t.Fatalf("systemd hears %q, want %q", got, want)
			}
		}
	}
	p := proc.StartUnready(t, proc.Options{
		Bin: proc.Build(t), Args: []string{"serve", "--listen", "{listen}", "--admin", "{admin}", "--sink=ndjson", "--output", os.DevNull},
		Env: []string{"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=200000"},
	})
	hear("READY=1")
	hear("WATCHDOG=1")
	for range 3 {
		must(t, p.Signal(syscall.SIGHUP))
		hear("RELOADING=1\nMONOTONIC_USEC=")
		hear("READY=1")
	}
	must(t, p.Terminate())
	hear("STOPPING=1")
	if code, err := p.Wait(t.Context()); code != 0 || err != nil {
		t.Errorf("exit %d, %v", code, err)
	}
}

// A service manager that does not read, or is not there, neither delays nor ends anything: one line says so, and once
// it reads it hears that the process is ready.
func TestNobodyReadsFromTheNotifySocket(t *testing.T) {
	t.Parallel()
	full := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: full, Net: "unixgram"})
	must(t, err)
	defer socket.Close()
	writer, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: full, Net: "unixgram"})
	must(t, err)
	defer writer.Close()
	must(t, writer.SetWriteDeadline(time.Now().Add(time.Second)))
	for err == nil {
		_, err = writer.Write([]byte("x"))
	}
	const untold, toldAgain = "the service manager does not read", "the service manager reads"
	for _, name := range []string{full, filepath.Join(t.TempDir(), "none"), "vsock:2:1"} {
		o := proc.Options{Bin: proc.Build(t), Env: []string{"NOTIFY_SOCKET=" + name, "WATCHDOG_USEC=200000"}}
		o.Args = []string{"serve", "--listen", "{listen}", "--admin", "{admin}", "--sink=ndjson", "--output", os.DevNull}
		p := proc.Start(t, o)
		awaitSeen(t, "the warning", func() bool { return lines(p, "level=WARN", untold, "unset NOTIFY_SOCKET", "error=") > 0 })
		if status, answer := post(t, p, "application/json", []byte(goodEvent)); status != 200 {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		for range 2 {
			must(t, p.Signal(syscall.SIGHUP))
		}
		awaitSeen(t, "a reload", func() bool { return lines(p, "read again on SIGHUP") > 0 })
		if name == full {
			must(t, socket.SetReadDeadline(time.Now().Add(rotationPatience)))
			for buf := make([]byte, 200); ; {
				n, err := socket.Read(buf)
				must(t, err)
				if string(buf[:n]) == "READY=1" {
					break
				}
			}
			awaitSeen(t, "the end of it", func() bool { return lines(p, "level=INFO", toldAgain) > 0 })
		} else if n := lines(p, untold); n != 1 {
			t.Errorf("%s: %d warnings", name, n)
		}
		if code, l := p.MustStop(t); code != 0 || l.Delivered != 6 {
			t.Errorf("%s: exit %d, ledger %+v", name, code, l)
		}
	}
}
