package faults

import (
	"time"
)

// processRows: what can happen to ingest itself.
func processRows() []row {
	return []row{
		{
			fault: "ingest frozen for 8 s", modes: everyMode, short: []mode{kafkaSpool}, promise: everything,
			trouble: func(tr *trial) {
				must(tr, tr.now().Freeze())
				tr.lasts(8 * time.Second)
				must(tr, tr.now().Thaw())
			},
		},
		{
			fault: "ingest terminated under load", modes: everyMode, short: []mode{kafkaAck}, promise: everything,
			trouble: func(tr *trial) {
				tr.stop()
				tr.start()
			},
		},
		{
			fault: "ingest terminated while the broker is away", modes: everyMode, short: []mode{acceptSpool},
			promise: func(m mode) promise { return promise{lossCounted: m == accept || m == kafkaAck} },
			args:    []string{"--shutdown-timeout", "3s"},
			trouble: func(tr *trial) {
				must(tr, tr.kafka.Kill(0))
				tr.lasts(time.Second)
				tr.stop()
				if left := tr.now().left; tr.mode.spool && left.events == 0 {
					tr.Error("nothing was left in the spool")
				}
				tr.startUnready()
				tr.lasts(time.Second)
				must(tr, tr.kafka.Restart(0))
			},
			check: func(tr *trial, r *result) {
				if tr.mode == kafkaAck && r.Lost != 0 {
					tr.Errorf("%d events acked by Kafka lost", r.Lost)
				}
			},
		},
	}
}
