package test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

// serveToNull is a server without Kafka.
func serveToNull(t *testing.T, more ...string) *proc.Process {
	t.Helper()
	args := []string{"serve", "--listen", "{listen}", "--admin", "{admin}", "--sink", "ndjson", "--output", "/dev/null"}
	return proc.Start(t, proc.Options{Bin: proc.Build(t), Args: append(args, more...)})
}

// Clients that announce bodies and hardly send them, and honest slow uploads beside them: small deliveries are taken
// meanwhile, and every honest upload ends with 200.
func TestSlowClientsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit  string
		upload int
		trickle,
		rate int // bytes/s of a trickle, 10 times a second
	}{
		{"64MiB", 2_000_000, 8, 10},
		{"32MiB", 1_000_000, 8, 10},
		{"32MiB", 1_000_000, 8, 1000}, // above --min-body-rate
		{"32MiB", 1_000_000, 150, 10},
	} {
		t.Run(fmt.Sprintf("%s, %d trickles of %d B/s", c.limit, c.trickle, c.rate), func(t *testing.T) {
			t.Parallel()
			p := serveToNull(t, "--memory-limit", c.limit)
			ctx, stop := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for i := range c.trickle {
				all.Go(func() {
					head := "Content-Length: 4194304\r\n\r\n"
					if i%8 > 3 {
						head = "Content-Length: 60000\r\n\r\n"
					}
					trickle(ctx, p.Listen, head, strings.Repeat(" ", max(1, c.rate/10)))
				})
			}
			for range 60 {
				all.Go(func() { trickle(ctx, p.Listen, "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n") })
			}
			var uploads sync.WaitGroup
			for i := range 4 {
				uploads.Go(func() {
					if status, err := upload(p.Listen, c.upload, 200_000); status != 200 {
						t.Errorf("upload %d: %d, %v", i, status, err)
					}
				})
			}
			small := make(chan []time.Duration, 1)
			refused := 0
			all.Go(func() {
				var took []time.Duration
				for ctx.Err() == nil {
					began := time.Now()
					res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(`[{"small":1}]`))
					if err != nil {
						t.Error(err)
						break
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					took = append(took, time.Since(began))
					if res.StatusCode != 200 {
						refused++
					}
					select {
					case <-time.After(20 * time.Millisecond): // 50 a second
					case <-ctx.Done():
					}
				}
				small <- took
			})
			uploads.Wait()
			stop()
			all.Wait()
			took := <-small
			slices.Sort(took)
			l := p.MustLedger(t)
			t.Logf("%d small deliveries, %d refused; p50 %v, p99 %v, longest %v; refused %v", len(took), refused, took[len(took)/2], took[len(took)*99/100], took[len(took)-1], l.Bodies.Refused)
			if refused*50 > len(took) {
				t.Errorf("%d of %d small deliveries were refused", refused, len(took))
			}
			if l.Delivered < int64(len(took)-refused) {
				t.Errorf("%d events delivered, %d deliveries answered 200", l.Delivered, len(took)-refused)
			}
		})
	}
}

// trickle sends piece ten times a second, for as long as it is let.
func trickle(ctx context.Context, addr, head, piece string) {
	for ctx.Err() == nil {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			continue
		}
		_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n"+head)
		for err == nil {
			select {
			case <-time.After(100 * time.Millisecond):
				_, err = io.WriteString(c, piece)
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		_ = c.Close()
	}
}

// upload posts size bytes at rate bytes a second and returns the status.
func upload(addr string, size, rate int) (int, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	go func() {
		_, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n[", size)
		piece := strings.Repeat(" ", rate/10)
		for sent := 1; sent < size-1 && err == nil; {
			n := min(len(piece), size-1-sent)
			_, err = io.WriteString(c, piece[:n])
			sent += n
			time.Sleep(100 * time.Millisecond) // the rate, not a wait for something
		}
		_, _ = io.WriteString(c, "]")
	}()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Minute))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != 200 {
		err = fmt.Errorf("%s", text)
	}
	return res.StatusCode, err
}
