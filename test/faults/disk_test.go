package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"functiongraph-ingest/test/kafkatest"
)

// smallDisk is the size of the file system, hog the part of it that somebody else takes for a while.
const (
	smallDisk = 24 << 20
	hogBytes  = 12 << 20
)

// fullDisk: the broker is away and somebody else fills the small disk until nothing can be written; then
// space returns, then the broker.
func fullDisk(policy string) row {
	return row{
		fault: "disk full while the broker is away, " + policy, modes: []mode{acceptSpool, disk}, disk: smallDisk, events: 300_000,
		short:   shortDisk(policy),
		args:    []string{"--codec", "none", "--spool-full", policy, "--spool-max", "20MiB", "--spool-keep-free", "1B"},
		promise: func(mode) promise { return promise{lossCounted: policy != "block"} },
		trouble: func(tr *trial) {
			hog := filepath.Join(filepath.Dir(tr.dir), "hog")
			must(tr, os.WriteFile(hog, make([]byte, hogBytes), 0o644))
			must(tr, tr.kafka.Kill(0))
			tr.await("a full disk", func() bool {
				tr.look()
				m := tr.now().last
				l, err := tr.now().Ledger()
				// drop-oldest makes room as soon as there is none.
				return m[`ingest_spool_state{state="full"}`]+m[`ingest_spool_state{state="failed"}`] > 0 || err == nil && l.DroppedTotal() > 0
			})
			tr.lasts(2 * time.Second)
			must(tr, os.Remove(hog))
			tr.lasts(2 * time.Second)
			must(tr, tr.kafka.Restart(0))
		},
		check: func(tr *trial, r *result) { tr.lossReports(r, policy) },
	}
}

func shortDisk(policy string) []mode {
	if policy == "drop-oldest" {
		return []mode{acceptSpool}
	}
	if policy == "block" {
		return []mode{disk}
	}
	return nil
}

// lossReports: what was dropped is reported to the dead-letter topic, to the event.
func (tr *trial) lossReports(r *result, policy string) {
	tr.Helper()
	if r.Dropped["spool_full"] == 0 {
		// Where clients wait for the disk there may be fewer events under way than memory holds.
		if policy == "drop-oldest" || policy == "drop-newest" && tr.mode != disk {
			tr.Error("nothing was dropped: the disk was not full")
		}
		return
	}
	var reported int64
	for _, m := range kafkatest.Kcat(tr, tr.kafka.Bootstrap(), tr.topic+".dlq") {
		var loss struct {
			Reason, Policy string
			Events         int64
		}
		if reason, _ := m.Header("ingest-reason"); reason != "loss" {
			continue
		}
		if err := json.Unmarshal(m.Value, &loss); err != nil || loss.Policy != policy {
			tr.Errorf("loss record %s: %v", m.Value, err)
		}
		reported += loss.Events
	}
	if reported != r.Dropped["spool_full"] {
		tr.Errorf("%d events reported as lost, %d were dropped", reported, r.Dropped["spool_full"])
	}
}

func diskRows() (rows []row) {
	for _, policy := range []string{"block", "drop-oldest", "drop-newest"} {
		rows = append(rows, fullDisk(policy))
	}
	return append(rows, secondOutage())
}

// secondOutage: that the disk was full in an outage means nothing in the next one. Each fills the disk.
func secondOutage() row {
	r := fullDisk("block")
	r.fault, r.modes, r.short = "disk full in a second outage, too", []mode{acceptSpool, disk}, []mode{acceptSpool}
	r.proxy, r.endless, r.events = true, true, 0
	r.trouble = func(tr *trial) {
		p := tr.fleet.Proxy(0)
		for outage := range 2 {
			must(tr, p.Refuse(true))
			p.CutAll()
			frames := 0.0
			tr.await(fmt.Sprintf("a full disk in outage %d", outage+1), func() bool {
				tr.look()
				m := tr.now().last
				if frames == 0 {
					frames = m["ingest_spool_written_frames_total"]
				}
				return m[`ingest_spool_state{state="full"}`] > 0
			})
			if written := tr.now().last["ingest_spool_written_frames_total"] - frames; outage == 1 && written < 20 {
				tr.Errorf("%.0f frames were written to disk in the second outage", written)
			}
			must(tr, p.Refuse(false))
			tr.await("the end of what is on disk", func() bool {
				l, err := tr.now().Ledger()
				tr.look()
				return err == nil && tr.now().last[`ingest_spool_state{state="full"}`] == 0 && l.Spooled == 0
			})
		}
		tr.load.Stop()
	}
	r.check = nil
	return r
}

// mountSmall puts a file system of its own under the spool. Where that is not permitted --spool-max is the
// only bound, and the table says so.
func (tr *trial) mountSmall(size int64) (dir string) {
	tr.Helper()
	at := tr.TempDir()
	if err := mountTmpfs(at, size); err != nil {
		tr.note = "bounded by --spool-max alone: no file system could be mounted"
		tr.Logf("mount: %v", err)
		return filepath.Join(at, "spool")
	}
	tr.Cleanup(func() {
		tr.endAll() // nothing may be open in it
		must(tr, unmount(at))
	})
	return filepath.Join(at, "spool")
}
