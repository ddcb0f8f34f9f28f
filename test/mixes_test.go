package test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// mixTime is how long a mix lasts: the peak is reached within the first two seconds.
const mixTime = 2 * time.Second

// Everything at once: bodies of many sizes, compressed, chunked, slow, broken, floods of dead letters, large traceIds,
// bombs, headers of many fields, uploads that are broken off. With Kafka, with a Kafka that hangs, and with a spool that
// is soon full, on a disk or on a small file system in memory, the process stays within its memory limit and 8 MiB, and its ledger is exact.
func TestMemoryLimitHoldsAgainstMixes(t *testing.T) {
	k := kafkatest.Start(t)
	k.Topic(t, "warm", 1, nil)
	for _, c := range []struct {
		mib    int64
		frozen bool
		ack    string
		spool  string // "", "disk" or "memory"
		seldom bool   // only with -attacks
	}{
		{32, false, "kafka", "", false}, {48, false, "kafka", "", false}, {64, false, "kafka", "", false}, {96, false, "kafka", "", false}, {512, false, "kafka", "", false},
		{32, true, "accept", "", false}, {48, true, "accept", "", true}, {64, true, "accept", "", true}, {512, true, "accept", "", true},
		{32, true, "disk", "disk", false}, {64, true, "accept", "disk", true}, {48, true, "disk", "memory", false}, {64, true, "accept", "memory", true}, {96, true, "disk", "memory", true},
	} {
		if c.seldom && !*allAttacks {
			continue
		}
		name := fmt.Sprintf("%d MiB, frozen=%v, ack=%s, spool=%s", c.mib, c.frozen, c.ack, c.spool)
		t.Run(name, func(t *testing.T) {
			topic := strings.NewReplacer(" ", "", ",", "-", "=", "-").Replace(name)
			k.Topic(t, topic, 3, map[string]string{"retention.bytes": "50000000", "segment.bytes": "20000000"})
			args := []string{"--memory-limit", fmt.Sprintf("%dMiB", c.mib), "--ack", c.ack, "--shutdown-timeout=20s", "--request-timeout=2s"}
			if c.spool != "" {
				dir := t.TempDir()
				args = append(args, "--spool-dir", filepath.Join(dir, "spool"), "--spool-keep-free=1MiB", "--spool-max=12MiB", "--max-body=2MiB", "--spool-in-memory")
				if c.spool == "memory" {
					if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
						skiptest.Missing(t, "a small file system: %v", err)
					}
					t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
				}
			}
			p := proc.Start(t, proc.Serve(proc.Build(t), k.Bootstrap(), topic, args...))
			if status, _ := post(t, p, "application/json", []byte(`[{"n":1}]`)); status != 200 {
				t.Fatalf("before the mix: %d", status)
			}
			p.WaitLedger(t, time.Minute, "the first event is in Kafka", func(l *proc.Ledger) bool { return l.Delivered == 1 })
			if c.frozen {
				must(t, k.Freeze(0))
			}
			statuses := mix(t, p.Listen, 150)
			peak, err := p.PeakRSS()
			must(t, err)
			if c.frozen {
				must(t, k.Thaw(0))
			}
			good := 0 // a broker that was frozen may take a while to come back
			for end := time.Now().Add(2 * time.Minute); good == 0 && time.Now().Before(end); {
				good = goodPost(t, p.URL("/"))
			}
			code, l := p.MustStop(t)
			t.Logf("peak RSS %+.1f MiB over the limit, %v, exit %d, %d delivered, %d dead letters, dropped %v", float64(peak)/(1<<20)-float64(c.mib), statuses, code, l.Delivered, l.DeadLettered, l.Dropped)
			if peak > (c.mib+8)<<20 {
				t.Errorf("peak RSS %d, limit %d MiB and 8 MiB", peak, c.mib)
			}
			if l.Balance() != nil || l.Delivered == 0 || good == 0 {
				t.Errorf("a good delivery behind the mix: %d; ledger %+v", good, *l)
			}
		})
	}
}

// mix posts over n connections for mixTime and counts the answers by status.
func mix(t *testing.T, addr string, n int) map[int]int {
	t.Helper()
	var mu sync.Mutex
	statuses := map[int]int{}
	end := time.Now().Add(mixTime)
	var all sync.WaitGroup
	for i := range n {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		all.Go(func() {
			for time.Now().Before(end) {
				status := oneOfMix(addr, rnd, end)
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return statuses
}

// oneOfMix is one request of some kind over a connection of its own; 0: it was not answered.
func oneOfMix(addr string, rnd *rand.Rand, end time.Time) int {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return 0
	}
	defer c.Close()
	_ = c.SetDeadline(end.Add(5 * time.Second))
	size := 1 << rnd.IntN(22)
	fields, body, slow := "", []byte(nil), false
	switch rnd.IntN(9) {
	case 0, 1:
		body = []byte(`[{"a":"` + strings.Repeat("x", size) + `"}]`)
	case 2:
		body = []byte("[" + strings.Repeat(`{"name":"function","logs":"x"},`, size/32+1) + "{}]")
	case 3:
		body = []byte("[" + strings.Repeat("1,", size/2) + "1]") // a dead letter each
	case 4:
		body = []byte(`[{"traceId":"` + strings.Repeat("k", min(size, 32<<10)) + `","a":1},{"traceId":"` + strings.Repeat("k", size) + `"}]`)
	case 5:
		fields = strings.Repeat("a:b\r\n", 40)
		body = []byte(`[{"a":"` + strings.Repeat(`\u0000`, size/6) + `" b},{"n":1}]`)
	case 6:
		fields = "Content-Encoding: gzip\r\n"
		body = zipped(bytes.Repeat([]byte(" "), 20<<rnd.IntN(21)))
	case 7:
		fields = "Content-Encoding: gzip\r\n"
		body = zipped([]byte("[" + strings.Repeat(`{"name":"function","logs":"x"},`, size/32+1) + "{}]"))
	case 8:
		slow = true
		body = bytes.Repeat([]byte(" "), 4<<20)
	}
	head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", fields, len(body))
	if !slow && rnd.IntN(3) == 0 {
		head = "POST / HTTP/1.1\r\nHost: x\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n"
		body = fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	if _, err := io.WriteString(c, head); err != nil {
		return 0
	}
	if slow { // a part of what it announces, and then no more
		_, _ = c.Write(body[:rnd.IntN(100<<10)])
		time.Sleep(time.Until(end) / 4)
		return 0
	}
	_, _ = c.Write(body) // a refusal may come in the middle
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data)
	_ = z.Close()
	return b.Bytes()
}
