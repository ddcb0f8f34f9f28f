package test

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Bodies that become far larger than they are: each gets 413, good compressed bodies beside them are delivered, and the
// process stays within its memory limit and 8 MiB.
func TestMemoryLimitHoldsAgainstBombs(t *testing.T) {
	zeros := bytes.Repeat([]byte{' '}, 200<<20)
	gz := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		must(t, err)
		must(t, w.Close())
		return b.Bytes()
	}
	var wide bytes.Buffer
	w, err := zstd.NewWriter(&wide, zstd.WithWindowSize(512<<20))
	must(t, err)
	_, err = w.Write(zeros[:20<<20])
	must(t, err)
	must(t, w.Close())
	whole, err := zstd.NewWriter(nil)
	must(t, err)
	bombs := []struct {
		encoding string
		data     []byte
	}{
		{"gzip", gz(zeros)}, {"gzip, gzip", gz(gz(zeros))}, {"zstd", whole.EncodeAll(zeros, nil)}, {"zstd", wide.Bytes()},
		{"snappy", s2.EncodeSnappy(nil, zeros[:64<<20])}, {"gzip, zstd", whole.EncodeAll(gz(zeros), nil)},
	}
	good := []byte(`[{"name":"function","logs":"good"},{"name":"function","logs":"good"}]`)
	p := serveToNull(t, "--memory-limit", "32MiB")
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for j := range 2 * len(bombs) {
				b := bombs[(i+j)%len(bombs)]
				if status := postEncoded(t, p.URL("/"), b.encoding, b.data); status != 413 && status != 503 {
					t.Errorf("%s of %d bytes: %d", b.encoding, len(b.data), status)
				}
			}
		})
	}
	delivered := 0
	for range 100 {
		if postEncoded(t, p.URL("/"), "gzip", gz(good)) == 200 {
			delivered += 2
		}
	}
	all.Wait()
	for i, b := range bombs { // alone none is refused for want of room
		if status := postEncoded(t, p.URL("/"), b.encoding, b.data); status != 413 {
			t.Errorf("bomb %d, %s: %d", i, b.encoding, status)
		}
	}
	peak, err := p.PeakRSS()
	must(t, err)
	code, l := p.MustStop(t)
	t.Logf("peak RSS %.1f MiB, %d good events, refused %v", float64(peak)/(1<<20), delivered, l.Bodies.Refused)
	if peak > 40<<20 {
		t.Errorf("peak RSS %d, limit 32 MiB and 8 MiB", peak)
	}
	if delivered < 190 || l.Delivered != int64(delivered) || l.Balance() != nil || code != 0 {
		t.Errorf("exit %d, %d good events answered 200, ledger %+v", code, delivered, *l)
	}
}

func postEncoded(t *testing.T, url, encoding string, data []byte) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Content-Encoding", encoding)
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		t.Errorf("%s: %v", encoding, err)
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}
