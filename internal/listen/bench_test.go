package listen

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPost: keep-alive connections, one event of 240 bytes per body, the client in the same
// process. cpu-us/op is of both ends together; bench_client is what the client alone costs against
// an echo of the answer.
func BenchmarkPost(b *testing.B) {
	for _, ack := range []bool{true, false} {
		for _, conns := range []int{16, 256} {
			b.Run(fmt.Sprintf("ack=%v/conns=%d", ack, conns), func(b *testing.B) {
				r := start(b, withConfig(func(c *Config) { c.WaitForAck = ack }))
				benchClient(b, r.addr, conns)
			})
		}
	}
}

// BenchmarkFloor is the same client against a bare loop that reads a request and writes the answer:
// what the sockets and the scheduler cost without any server.
func BenchmarkFloor(b *testing.B) {
	for _, conns := range []int{16, 256} {
		b.Run(fmt.Sprintf("conns=%d", conns), func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			size := len(benchRequest())
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						buf := make([]byte, size)
						for {
							if _, err := io.ReadFull(c, buf); err != nil {
								return
							}
							if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
								return
							}
						}
					}()
				}
			}()
			benchClient(b, ln.Addr().String(), conns)
		})
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

// benchClient sends b.N requests over conns connections, one at a time on each.
func benchClient(b *testing.B, addr string, conns int) {
	req := benchRequest()
	next := make(chan int, conns)
	errs := make(chan error, conns)
	each := b.N / conns
	for i := range conns {
		n := each
		if i < b.N%conns {
			n++
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		go func() {
			br := bufio.NewReaderSize(c, 512)
			<-next
			for range n {
				if _, err := c.Write(req); err != nil {
					errs <- err
					return
				}
				line, err := br.ReadSlice('\n')
				if err != nil || !bytes.HasPrefix(line, ok200) {
					errs <- fmt.Errorf("%q %v", line, err)
					return
				}
				for len(line) > 2 {
					if line, err = br.ReadSlice('\n'); err != nil {
						errs <- err
						return
					}
				}
			}
			errs <- nil
		}()
	}
	b.ReportAllocs()
	b.ResetTimer()
	t := cpu()
	close(next)
	for range conns {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-t).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}
