package load_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/bench/load"
)

// BenchmarkNullServer shows what the generator itself can do: events per second, and events per
// CPU-second of the generator. Both must be far above the target's figures for the target's to mean
// anything.
func BenchmarkNullServer(b *testing.B) {
	addr := nullServer(b)
	for _, c := range []struct{ events, conns int }{{1, 1}, {1, 16}, {1, 256}, {100, 16}, {1000, 16}} {
		for _, marked := range []bool{false, true} {
			b.Run(fmt.Sprintf("events=%d/conns=%d/marked=%t", c.events, c.conns, marked), func(b *testing.B) {
				o := load.Options{Addr: addr, Conns: c.conns, Profile: load.Profile{Events: c.events, Marked: marked}}
				if marked {
					o.Recorder = marker{}
				}
				run, err := load.Start(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				before := cpu(b)
				run.Next()
				timer := time.NewTimer(time.Duration(b.N) * time.Millisecond)
				<-timer.C
				spent := cpu(b) - before
				result := run.Stop()[1]
				if result.NoReply+result.Refused > 0 {
					b.Fatalf("%d without answer, %d refused: %v", result.NoReply, result.Refused, result.LastError)
				}
				b.ReportMetric(0, "ns/op") // an op is a millisecond
				b.ReportMetric(result.EventsPerSecond(), "events/s")
				b.ReportMetric(float64(result.Events)/spent.Seconds(), "events/cpu-s")
				b.ReportMetric(float64(result.Latency.Quantile(0.99).Microseconds()), "p99-us")
			})
		}
	}
}

// marker stamps events as the oracle does and keeps nothing.
type marker struct{}

func (marker) Stamp(conn int, p *load.Payload) {
	for i := range p.Events() {
		p.Mark(i, uint64(conn), uint64(i))
	}
}

func (marker) Posted(int, *load.Payload, int) {}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
