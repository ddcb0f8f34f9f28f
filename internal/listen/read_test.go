package listen

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// chunks writes data in chunks of random sizes.
func chunks(data string, rnd *rand.Rand) string {
	var b strings.Builder
	for len(data) > 0 {
		n := min(len(data), 1+rnd.IntN(20_000))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, data[:n])
		data = data[n:]
	}
	return b.String() + "0\r\n\r\n"
}

// TestSizes: bodies around every boundary arrive as they were sent, with a length and without, on
// one connection.
func TestSizes(t *testing.T) {
	const limit = 1 << 20
	r := start(t, withConfig(func(c *Config) { c.MaxBodyBytes = limit }))
	rnd := rand.New(rand.NewPCG(1, 2))
	all := make([]byte, limit)
	for i := range all {
		all[i] = byte(rnd.Uint32())
	}
	cl := r.dial()
	n := 0
	for _, size := range []int{1, 2, 240, 2047, 2048, 2049, 4000, 4096, 5000, 65535, 65536, 65537, 131072, 300_000, limit - 1, limit} {
		for _, withLength := range []bool{true, false} {
			data := string(all[:size])
			if withLength {
				cl.send(post("/", data))
			} else {
				cl.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(data, rnd))
			}
			if got := cl.reply(); got.status != 200 {
				t.Fatalf("%d bytes: %d %s", size, got.status, got.body)
			}
			if r.taken()[n] != data {
				t.Fatalf("%d bytes (length %v) are not what was sent", size, withLength)
			}
			n++
		}
	}
	if st := r.srv.Stats(); st.BodiesAdmitted != int64(n) || st.Refused != nil {
		t.Errorf("%+v", st)
	}
}

// TestPipelined: requests sent without waiting are answered one after the other.
func TestPipelined(t *testing.T) {
	r := start(t)
	cl := r.dial()
	var all strings.Builder
	for i := range 50 {
		all.WriteString(post("/", fmt.Sprintf("[%d]", i)))
	}
	cl.send(all.String() + post("/nope", "x") + post("/", "[last]"))
	for i := range 52 {
		want := 200
		if i == 50 {
			want = 404
		}
		if got := cl.reply(); got.status != want {
			t.Fatalf("answer %d: %d", i, got.status)
		}
	}
	if b := r.taken(); len(b) != 51 || b[49] != "[49]" || b[50] != "[last]" {
		t.Errorf("%d bodies: %q", len(b), b)
	}
}

// TestLargerThanBudget: a body that the gate can never hold is 413 at once.
func TestLargerThanBudget(t *testing.T) {
	r := start(t, withGate(64, 64<<10))
	cl := r.dial()
	cl.send(post("/", strings.Repeat("x", 100_000)))
	if got := cl.reply(); got.status != 413 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestNetHTTPClient: Go's own client, with and without a length, and with Expect.
func TestNetHTTPClient(t *testing.T) {
	r := start(t, withOutcome(outcome{events: 2, dead: 1}))
	tr := &http.Transport{ExpectContinueTimeout: 30 * time.Second}
	defer tr.CloseIdleConnections()
	hc := &http.Client{Transport: tr, Timeout: 30 * time.Second}
	data := bytes.Repeat([]byte("0123456789"), 30_000)
	for i := range 12 {
		req, err := http.NewRequest(http.MethodPost, "http://"+r.addr+"/", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			req.ContentLength = -1
		}
		if i%3 == 2 {
			req.Header.Set("Expect", "100-continue")
		}
		resp, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || b.String() != `{"events":2,"deadLettered":1}`+"\n" {
			t.Errorf("%d: %d %s", i, resp.StatusCode, b.String())
		}
	}
	for i, b := range r.taken() {
		if b != string(data) {
			t.Errorf("body %d differs", i)
		}
	}
}
