package load_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"functiongraph-ingest/bench/load"
)

// With this variable set the test binary is a null server: see load.ServeNull. It is a process of its own so that the generator's CPU time can be told apart.
const nullServerVariable = "LOAD_TEST_NULL_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(nullServerVariable) == "" {
		os.Exit(m.Run())
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the parent does
		os.Exit(0)
	}()
	if err := load.ServeNull(context.Background(), l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const ok = "HTTP/1.1 200 OK\r\nServer: null\r\nDate: Mon, 02 Mar 2026 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n"

// answerAll reads requests with Content-Length and writes what reply returns; an empty string closes the
// connection instead.
func answerAll(c net.Conn, reply func() string) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		length := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
			if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				length, _ = strconv.Atoi(strings.TrimSpace(string(v)))
			}
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		answer := reply()
		if answer == "" {
			return
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

// nullServer starts the process and returns its address.
func nullServer(t testing.TB) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), nullServerVariable+"=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// localServer answers in this process, with what reply returns for each request.
func localServer(t testing.TB, reply func() string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(c, reply)
		}
	}()
	return l.Addr().String()
}

// TestNullServer: requests that come in pieces, and heads that are none.
func TestNullServer(t *testing.T) {
	addr := nullServer(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.(*net.TCPConn).SetNoDelay(true)
	answers := bufio.NewReader(c)
	request := "POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\r\nhello"
	for _, pieces := range [][]string{{request}, {request[:10], request[10:50], request[50:]}, {request + request[:7], request[7:]}} {
		for _, piece := range pieces {
			if _, err := io.WriteString(c, piece); err != nil {
				t.Fatal(err)
			}
		}
		for range strings.Count(strings.Join(pieces, ""), "hello") {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil || resp.StatusCode != 200 {
				t.Fatalf("%q: %v", pieces, err)
			}
		}
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := answers.ReadByte(); err == nil {
		t.Error("a request without a length is answered")
	}
}
