package listen

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/body"
)

// stages are how far a client comes before it is stopped or killed: what it sends, once.
var stages = map[string]string{
	"hello":  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // a handshake begins
	"header": postLine + "A: b\r\nContent-Le",
	"body":   postLine + "Content-Length: 100\r\n\r\n[",
	"answer": invocationOf(4000), // again and again, and no answer is read
}

func invocationOf(n int) string { return post("/extension/invoke", "{"+strings.Repeat(" ", n-2)+"}") }

// stuckEnv makes the test binary a process of clients that come to a stage: "network address stage connections tls
// trickle". It says ready, and waits.
const stuckEnv = "INGEST_LISTEN_STUCK_CLIENT"

func actAsStuck(args string) error {
	var network, addr, stage string
	var conns int
	var secure, trickle bool
	if _, err := fmt.Sscan(args, &network, &addr, &stage, &conns, &secure, &trickle); err != nil {
		return err
	}
	for range conns {
		c, err := net.Dial(network, addr)
		if err != nil {
			return err
		}
		defer c.Close() // which also keeps it from the garbage collector
		if secure && stage != "hello" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it trusts whom it attacks
		}
		if _, err := io.WriteString(c, stages[stage]); err != nil {
			return err
		}
		again := map[bool]string{true: "x"}[trickle]
		if stage == "answer" {
			again = stages[stage]
		}
		if again != "" {
			go func() {
				for err := error(nil); err == nil; {
					if trickle {
						time.Sleep(5 * time.Millisecond)
					}
					_, err = io.WriteString(c, again)
				}
			}()
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// stuck starts a process of clients that have come to a stage.
func stuck(t *testing.T, network, addr, stage string, conns int, secure, trickle bool) *os.Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d %v %v", stuckEnv, network, addr, stage, conns, secure, trickle))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd.Process
}

// TestClientsThatStopAnywhere: clients that are stopped (SIGSTOP), that vanish (SIGKILL) or that go on byte by byte, in
// the middle of a handshake, a header, a body or an answer, keep no newcomer out and leave nothing behind. It is the same
// over TCP, TLS and a Unix socket.
func TestClientsThatStopAnywhere(t *testing.T) {
	const conns = 3
	secure, config := secured(t, false)
	for _, way := range []string{"tcp", "unix", "tls"} {
		for _, stage := range []string{"hello", "header", "body", "answer"} {
			for _, how := range []string{"stopped", "killed", "trickled"} {
				if stage == "hello" && way != "tls" || how == "trickled" && stage != "hello" && stage != "header" {
					continue
				}
				t.Run(way+" "+stage+" "+how, func(t *testing.T) {
					network := "tcp"
					opts := []option{withTestTicks(), withConfig(func(c *Config) {
						c.MaxConns, c.MinBodyRate = conns, 240
						if way == "unix" {
							c.Addr, c.SocketMode = "unix:"+filepath.Join(t.TempDir(), "s"), 0o600
						}
					})}
					if way == "tls" {
						opts = append(opts, secure)
					}
					if stage == "answer" {
						opts = append(opts, func(_ *rig, c *Config, _ *body.RoomConfig) { c.WaitForAck = false })
					}
					r := start(t, opts...)
					addr, isUnix := strings.CutPrefix(r.addr, "unix:")
					if isUnix {
						network = "unix"
					}
					newcomer := func() {
						t.Helper()
						c, err := net.Dial(network, addr)
						if err != nil {
							t.Fatal(err)
						}
						defer c.Close()
						_ = c.SetDeadline(time.Now().Add(30 * time.Second))
						if way == "tls" {
							c = tls.Client(c, config)
						}
						_, _ = io.WriteString(c, post("/", "[1]"))
						if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
							t.Errorf("a newcomer: %+v, %v", res, err)
						}
					}
					held := func() int { return r.inPhase(reading) + r.inPhase(writing) }
					p := stuck(t, network, addr, stage, conns, way == "tls", how == "trickled")
					answers, same := int64(0), 0
					until(t, "they hold their places", func() bool {
						if n := r.invocations.Load(); n != answers {
							answers, same = n, 0
						}
						same++ // the answers have stopped if none came for so many looks
						return held() == conns && (how == "trickled" || stage == "answer" && same > 5000 || r.unread() == 0)
					})
					if how == "killed" {
						_ = p.Kill()
						until(t, "they are gone without a tick", func() bool { return r.srv.Stats().OpenConns == 0 })
						newcomer()
					} else {
						if how == "stopped" {
							_ = p.Signal(syscall.SIGSTOP)
						}
						r.pass(10) // for a body that hardly comes: one look begins, the next ends
						r.pass(10)
						newcomer()
						until(t, "none is waited for", func() bool {
							r.pass(r.srv.limits.read + 1) // again: the kernel may have taken some more of an answer meanwhile
							return held() == 0
						})
						_ = p.Kill()
					}
					until(t, "all are gone", func() bool { st := r.srv.Stats(); return st.OpenConns+st.TurnedAway == 0 })
					if items, bytes := r.room.InUse(); items != 0 || bytes != 0 {
						t.Errorf("%d bodies and %d bytes are left", items, bytes)
					}
				})
			}
		}
	}
}
