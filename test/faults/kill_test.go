package faults

import (
	"fmt"
	"math/rand/v2"
	"time"

	"functiongraph-ingest/test/cutproxy"
)

// killed: kill -9 at random moments under load, again and again at the same address with the same
// directory. The way to the broker takes 20 ms, as between data centres of a region and more: on one
// machine an ack takes so little that a kill rarely finds a frame that is not done.
func killed() row {
	const slow = 20 * time.Millisecond
	return row{
		fault: "ingest killed", modes: everyMode, short: []mode{disk, kafkaSpool}, proxy: true, endless: true,
		promise: func(m mode) promise { return promise{lossUncounted: m.ack == "accept"} },
		trouble: func(tr *trial) {
			rounds, rng := 20, rand.New(rand.NewPCG(7, 7))
			if !*all {
				rounds = 8
			}
			tr.fleet.Set(cutproxy.Faults{Latency: slow})
			defer tr.fleet.Set(cutproxy.Faults{})
			withFrames := 0
			for range rounds {
				tr.lasts(100*time.Millisecond + time.Duration(rng.Int64N(int64(1200*time.Millisecond))))
				tr.kill()
				tr.start()
			}
			tr.await("as many events as a row must have", func() bool { return tr.load.Progress().Events >= 100_000 })
			tr.load.Stop()
			tr.settle()
			tr.look()
			for _, l := range tr.lives[1:] {
				if l.last["ingest_spool_replayed_frames_total"] > 0 {
					withFrames++
				}
			}
			tr.note = fmt.Sprintf("%d kills; frames replayed after %d of them; 20 ms to the broker each way", rounds, withFrames)
			// A life may be too short to reach Kafka, the more so on a busy machine.
			if tr.mode == disk && withFrames < rounds/4 {
				tr.Errorf("frames were replayed after %d of %d kills", withFrames, rounds)
			}
		},
	}
}
