package listen

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPost: keep-alive connections, one event of 240 bytes per body. cpu-us/op is of this
// process: of both ends together, or, where the client is apart, in a process of its own, of the
// server with its consumer alone.
func BenchmarkPost(b *testing.B) {
	for _, apart := range []bool{false, true} {
		for _, ack := range []bool{true, false} {
			for _, conns := range []int{16, 256} {
				b.Run(fmt.Sprintf("apart=%v/ack=%v/conns=%d", apart, ack, conns), func(b *testing.B) {
					r := start(b, withConfig(func(c *Config) { c.WaitForAck = ack }))
					if apart {
						benchApart(b, r.addr, conns)
					} else {
						benchClient(b, r.addr, conns)
					}
				})
			}
		}
	}
}

// BenchmarkFloor is the same load against a bare loop that reads a request and writes the answer:
// what sockets and scheduler cost without any server.
func BenchmarkFloor(b *testing.B) {
	for _, apart := range []bool{false, true} {
		for _, conns := range []int{16, 256} {
			b.Run(fmt.Sprintf("apart=%v/conns=%d", apart, conns), func(b *testing.B) {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					b.Fatal(err)
				}
				defer ln.Close()
				go echo(ln, len(benchRequest()))
				if apart {
					benchApart(b, ln.Addr().String(), conns)
				} else {
					benchClient(b, ln.Addr().String(), conns)
				}
			})
		}
	}
}

func echo(ln net.Listener, size int) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf, answer := make([]byte, size), []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			for {
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

func benchRequest() []byte {
	return []byte(post("/", `[{"name":"function","logs":"`+strings.Repeat("x", 210)+`"}]`, "Content-Type: application/json", "User-Agent: bench"))
}

var ok200 = []byte("HTTP/1.1 200")

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchClient sends b.N requests from this process.
func benchClient(b *testing.B, addr string, conns int) {
	run, err := dialLoad(addr, conns, b.N)
	if err != nil {
		b.Fatal(err)
	}
	measure(b, run)
}

// clientEnv makes the test binary a client: "addr conns requests".
const clientEnv = "INGEST_LISTEN_BENCH_CLIENT"

// benchApart sends b.N requests from another process.
func benchApart(b *testing.B, addr string, conns int) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", clientEnv, addr, conns, b.N))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); line != "ready\n" {
		b.Fatalf("client: %q, %v", line, err)
	}
	measure(b, func() error {
		_ = in.Close() // go
		line, err := said.ReadString('\n')
		if line != "done\n" {
			return fmt.Errorf("client: %q, %v", line, err)
		}
		return nil
	})
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// actAsClient is the other process.
func actAsClient(args string) error {
	var addr string
	var conns, n int
	if _, err := fmt.Sscan(args, &addr, &conns, &n); err != nil {
		return err
	}
	run, err := dialLoad(addr, conns, n)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := run(); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

func measure(b *testing.B, run func() error) {
	b.ReportAllocs()
	b.ResetTimer()
	t := cpu()
	if err := run(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-t).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

// dialLoad connects; run sends n requests over all connections, one at a time on each.
func dialLoad(addr string, conns, n int) (run func() error, err error) {
	all := make([]net.Conn, conns)
	for i := range all {
		if all[i], err = net.Dial("tcp", addr); err != nil {
			return nil, err
		}
	}
	return func() error {
		errs := make(chan error, conns)
		for i, c := range all {
			each := n / conns
			if i < n%conns {
				each++
			}
			go func() {
				defer c.Close()
				errs <- load(c, each)
			}()
		}
		for range conns {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func load(c net.Conn, n int) error {
	req := benchRequest()
	br := bufio.NewReaderSize(c, 512)
	for range n {
		if _, err := c.Write(req); err != nil {
			return err
		}
		line, err := br.ReadSlice('\n')
		if err != nil || !bytes.HasPrefix(line, ok200) {
			return fmt.Errorf("%q %v", line, err)
		}
		for len(line) > 2 {
			if line, err = br.ReadSlice('\n'); err != nil {
				return err
			}
		}
	}
	return nil
}
