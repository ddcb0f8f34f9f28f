package faults

import (
	"fmt"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// TestOutageOfAMinute: the broker is away for 60 s at 50,000 events/s. What answers before Kafka does goes
// on answering; memory stays within its limit; afterwards the disk is read faster than the load fills it.
func TestOutageOfAMinute(t *testing.T) {
	if !*all {
		return // minutes: only make faults has them
	}
	newLab(t, kafkatest.WithHeap("1g")).rows(t, outageRows())
}

func outageRows() []row {
	const limit = 64 << 20
	return []row{{
		fault: "broker away for 60 s at 50,000 events/s", modes: spoolModes, short: nil, promise: everything,
		rate: 50_000, conns: 200, endless: true, args: []string{"--memory-limit", "64MiB", "--ack-timeout", "10s"},
		topic: map[string]string{"segment.bytes": "200000000"},
		trouble: func(tr *trial) {
			tr.lasts(3 * time.Second)
			must(tr, tr.kafka.Kill(0))
			tr.lasts(60 * time.Second)
			must(tr, tr.kafka.Restart(0))
			back, before := time.Now(), tr.now().MustLedger(tr)
			after := tr.now().WaitLedger(tr, patience, "the spool empty", func(l *proc.Ledger) bool { return l.Spooled == 0 || tr.mode.ack == "kafka" })
			took := time.Since(back)
			if tr.mode.ack != "kafka" { // waiting clients bring too little to measure
				tr.note = fmt.Sprintf("%s events on disk delivered in %s after the return, %s events/s in all while the load went on",
					figure(before.Spooled), seconds(took), figure(int64(float64(after.Delivered-before.Delivered)/took.Seconds())))
			}
			tr.lasts(3 * time.Second)
			tr.load.Stop()
		},
		check: func(tr *trial, r *result) {
			if r.PeakRSS > limit+8<<20 {
				tr.Errorf("peak RSS %d bytes, limit %d and 8 MiB", r.PeakRSS, limit)
			}
			waits := tr.mode.ack == "kafka"
			if n := r.Statuses[503]; n != 0 && !waits {
				tr.Errorf("%d times 503 while there was disk left", n)
			}
			if n := r.Statuses[504]; (n != 0) != waits {
				tr.Errorf("%d times 504 with ack=%s", n, tr.mode.ack)
			}
		},
	}}
}
