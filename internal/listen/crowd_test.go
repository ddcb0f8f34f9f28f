package listen

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is how many connections post at the same time: what one instance serves at most.
const crowd = 1000

// watchMemory samples what is lent until stop is called, which returns the peaks.
func (r *rig) watchMemory() (stop func() (gate, pool int64)) {
	end, done := make(chan struct{}), make(chan struct{})
	var gate, pool int64
	go func() {
		defer close(done)
		t := time.NewTicker(200 * time.Microsecond)
		defer t.Stop()
		for {
			_, g := r.room.InUse()
			gate, pool = max(gate, g), max(pool, r.room.Bytes())
			select {
			case <-end:
				return
			case <-t.C:
			}
		}
	}()
	return func() (int64, int64) { close(end); <-done; return gate, pool }
}

// TestCrowd: a thousand connections post bodies of which only a few fit at a time. Everyone gets an
// answer, nothing is ever lent beyond the budget, and nothing is left over.
func TestCrowd(t *testing.T) {
	const budget = 2 << 20
	for _, c := range []struct {
		name string
		wait time.Duration
		may  bool // be refused
	}{
		{"patient", time.Minute, false},
		{"impatient", time.Millisecond, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, withGate(64, budget), withConfig(func(cfg *Config) { cfg.AdmitWait = c.wait; cfg.MaxBodyBytes = 256 << 10 }))
			stop := r.watchMemory()
			var ok, full atomic.Int64
			var wg sync.WaitGroup
			for i := range crowd {
				cl := r.dial()
				wg.Go(func() {
					// Sizes from 1 byte to 200 kB, so that all classes compete.
					data := strings.Repeat("x", 1+(i*i)%200_000)
					request := post("/", data)
					if i%10 == 0 {
						request = fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(data), data)
					}
					if _, err := cl.Write([]byte(request)); err != nil {
						t.Errorf("send: %v", err)
						return
					}
					got, err := cl.read()
					switch {
					case err != nil:
						t.Errorf("no answer: %v", err)
					case got.status == 200:
						ok.Add(1)
					case got.status == 503 && got.header.Get("Retry-After") != "" && (c.may || i%10 == 0):
						full.Add(1)
					default:
						t.Errorf("%+v", got)
					}
					_ = cl.Close()
				})
			}
			wg.Wait()
			gate, pool := stop()
			if gate > budget || pool > budget {
				t.Errorf("peak: %d reserved, %d in the pool, of %d", gate, pool, budget)
			}
			if int(ok.Load()) != len(r.taken()) || ok.Load()+full.Load() != crowd || ok.Load() == 0 {
				t.Errorf("%d taken, %d refused, %d reached the ring", ok.Load(), full.Load(), len(r.taken()))
			}
			t.Logf("%d taken, %d refused; peak %d reserved, %d in the pool", ok.Load(), full.Load(), gate, pool)
			until(t, "all connections are closed", func() bool { return r.srv.Stats().OpenConns == 0 })
		})
	}
}
