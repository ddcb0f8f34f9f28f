package test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/test/proc"
)

// Chunked bodies grow through buffers of every size, and most are given up for want of room. With the
// brokers dead and a crowd of clients the process stays within its memory limit and 8 MiB, and every
// body is answered.
func TestMemoryLimitHoldsAgainstChunkedBodies(t *testing.T) {
	const limit, conns, bodies = 32 << 20, 32, 40
	p := proc.StartUnready(t, proc.Serve(proc.Build(t), "127.0.0.1:1", "chunked", "--memory-limit", "32MiB", "--ack", "accept"))
	p.WaitLedger(t, 10*time.Second, "it runs", func(*proc.Ledger) bool { return true })
	large := "[" + strings.Repeat(" ", 5<<20) + "]" // more than --max-body
	var mu sync.Mutex
	status := map[int]int{}
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() {
			client := http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := range bodies {
				data := large
				if i%2 == 1 {
					data = "[]"
				}
				code, err := postChunked(t.Context(), &client, "http://"+p.Listen, data)
				mu.Lock()
				status[code]++
				mu.Unlock()
				if err != nil {
					t.Errorf("body %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	peak, err := p.PeakRSS()
	must(t, err)
	t.Logf("statuses %v, peak RSS %.1f MiB", status, float64(peak)/(1<<20))
	if peak > limit+8<<20 {
		t.Errorf("peak RSS %d bytes, limit %d and 8 MiB", peak, limit)
	}
	if status[200] == 0 || status[413]+status[503] == 0 || status[200]+status[413]+status[503] != conns*bodies {
		t.Errorf("statuses %v: 200 for the small ones, 413 or 503 for the large ones expected", status)
	}
}

// postChunked posts data without a Content-Length.
func postChunked(ctx context.Context, client *http.Client, url, data string) (int, error) {
	body := struct{ io.Reader }{strings.NewReader(data)} // hides the length
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode, err
}
