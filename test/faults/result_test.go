package faults

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"functiongraph-ingest/bench/load"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// result is one line of the table. Counts are of events unless their names say otherwise.
type result struct {
	Fault string `json:"fault"`
	Ack   string `json:"ack"`
	Spool bool   `json:"spool"`
	Test  string `json:"test"` // that shows it

	Sent           int `json:"sent"`
	Acked          int `json:"acked"`
	Refused        int `json:"refused"` // only ever refused
	Open           int `json:"open"`    // neither acked nor refused: 504, or no answer
	Delivered      int `json:"delivered"`
	Lost           int `json:"ackedLost"`
	Doubled        int `json:"doubled"` // delivered more often than they were posted
	Repeated       int `json:"repeated"`
	OutOfOrder     int `json:"outOfOrder"`
	OpenOutOfOrder int `json:"openOutOfOrder"`
	SplitKeys      int `json:"splitKeys"`

	DeadLettered         int64            `json:"deadLettered"`
	SetAside             int64            `json:"setAside"`
	Dropped              map[string]int64 `json:"dropped"`
	PossibleDuplicates   int64            `json:"possibleDuplicates"`
	DuplicatesSuppressed int64            `json:"duplicatesSuppressed"`
	SpooledFrames        int64            `json:"framesSpooled"`
	ReplayedFrames       int64            `json:"framesReplayed"`

	Lives    int           `json:"processes"`
	Statuses map[int]int64 `json:"statuses"` // bodies by the answer's status
	NoReply  int64         `json:"noReply"`  // bodies
	Seconds  float64       `json:"seconds"`  // of the load
	PeakRSS  int64         `json:"peakRSSBytes"`
	Note     string        `json:"note,omitempty"`
	Kept     string        `json:"kept"` // what the mode promises here
}

// result judges everything and adds up the lives of the process.
func (tr *trial) result(phases []load.Result) *result {
	tr.Helper()
	report, err := tr.judge.Read(tr.Context(), tr.kafka.Bootstrap(), tr.topic)
	if err != nil {
		kafkatest.Unavailable(tr, err)
		tr.Fatal(err)
	}
	tr.Log(report)
	for _, d := range report.Details {
		tr.Log(d)
	}
	if n := report.RefusedDelivered + report.Damaged + report.Foreign + report.WrongKey; n != 0 {
		tr.Errorf("%d records refused but delivered, damaged, foreign or with a wrong key", n)
	}
	r := &result{
		Fault: tr.row.fault, Ack: tr.mode.ack, Spool: tr.mode.spool, Test: tr.Name(), Note: tr.note,
		Sent: report.Sent, Acked: report.Acked, Refused: report.Refused, Open: report.Open, Delivered: report.Delivered,
		Lost: report.Lost, Doubled: report.Doubled, Repeated: report.Repeated, OutOfOrder: report.OutOfOrder,
		OpenOutOfOrder: report.OpenOutOfOrder, SplitKeys: report.SplitKeys,
		Dropped: map[string]int64{}, Statuses: map[int]int64{}, Lives: len(tr.lives),
	}
	for _, p := range phases {
		r.Seconds += p.Elapsed.Seconds()
		r.NoReply += p.NoReply
		for status, n := range p.Status {
			r.Statuses[status] += n
		}
	}
	for _, l := range tr.lives {
		r.add(l)
	}
	tr.ledgers(r)
	return r
}

func (r *result) add(l *life) {
	r.SpooledFrames += int64(l.last["ingest_spool_written_frames_total"])
	r.ReplayedFrames += int64(l.last["ingest_spool_replayed_frames_total"])
	r.PeakRSS = max(r.PeakRSS, l.peak)
	if l.ledger == nil {
		return
	}
	r.DeadLettered += l.ledger.DeadLettered
	r.SetAside += l.ledger.SetAside
	r.PossibleDuplicates += l.ledger.PossibleDuplicates
	r.DuplicatesSuppressed += l.ledger.DuplicatesSuppressed
	for reason, n := range l.ledger.Dropped {
		r.Dropped[reason] += n
	}
}

func (r *result) dropped() (n int64) {
	for _, d := range r.Dropped {
		n += d
	}
	return n
}

// ledgers compares the books of all lives with each other, with the topics and with the directory.
func (tr *trial) ledgers(r *result) {
	tr.Helper()
	var sum proc.Ledger
	killed := false
	for i, l := range tr.lives {
		if l.ledger != nil {
			tr.Logf("life %d: exit %d, %+v", i, l.code, *l.ledger)
			sum.Delivered += l.ledger.Delivered
			if l.ledger.InFlight != 0 {
				tr.Errorf("life %d ended with %d events in flight", i, l.ledger.InFlight)
			}
			if want := exitCode(l.ledger); l.code != want {
				tr.Errorf("life %d: exit %d, want %d with dropped %v", i, l.code, want, l.ledger.Dropped)
			}
			if i > 0 && l.ledger.Recovered != tr.lives[i-1].left.events {
				tr.Errorf("life %d recovered %d events, the one before left %d", i, l.ledger.Recovered, tr.lives[i-1].left.events)
			}
		}
		killed = killed || l.killed
	}
	if left := tr.now().left; left.frames != 0 {
		tr.Errorf("%d frames are left in the spool", left.frames)
	}
	// A killed process has delivered what nobody wrote down.
	// What was given up while it was under way may have arrived all the same.
	once := tr.read + int64(r.Delivered-r.Doubled-r.Repeated)
	if !killed && (once < sum.Delivered || once > sum.Delivered+r.dropped()) {
		tr.Errorf("the ledgers say %d delivered and %d dropped, the topics had %d without repeats", sum.Delivered, r.dropped(), once)
	}
	if dead := tr.deadLetters(); !killed && dead != r.DeadLettered {
		tr.Errorf("the ledgers say %d dead letters, their topic has %d", r.DeadLettered, dead)
	}
}

// deadLetters counts the events in the dead-letter topic: no notices of larger ones, no reports of losses.
func (tr *trial) deadLetters() (n int64) {
	tr.Helper()
	if all, err := tr.kafka.Count(tr.topic + ".dlq"); err != nil || all == 0 {
		return 0 // no topic: none was needed
	}
	for _, m := range kafkatest.Kcat(tr, tr.kafka.Bootstrap(), tr.topic+".dlq") {
		_, notice := m.Header("ingest-truncated")
		if reason, _ := m.Header("ingest-reason"); !notice && reason != "loss" {
			n++
		}
	}
	return n
}

func exitCode(l *proc.Ledger) int {
	if l.DroppedTotal() > 0 {
		return 3
	}
	return 0
}

// hold tests the result against what the mode promises.
func (tr *trial) hold(r *result, p promise) {
	tr.Helper()
	if r.Sent < 100_000 {
		tr.Errorf("only %d events sent", r.Sent)
	}
	switch dropped := r.dropped(); {
	case p.lossUncounted:
		r.Kept = "loss of what was in memory"
	case p.lossCounted:
		r.Kept = "loss, counted"
		if int64(r.Lost) > dropped {
			tr.Errorf("%d acked events lost, %d counted as dropped", r.Lost, dropped)
		}
	case r.Lost != 0 || dropped != 0:
		tr.Errorf("%d acked events lost, dropped %v", r.Lost, r.Dropped)
	}
	switch {
	case p.doublesCounted:
		r.Kept = strings.TrimPrefix(r.Kept+"; doubles, counted", "; ")
		if int64(r.Doubled+r.Repeated) > r.PossibleDuplicates {
			tr.Errorf("%d events doubled, %d counted as possible", r.Doubled+r.Repeated, r.PossibleDuplicates)
		}
	case r.Doubled != 0 || r.Repeated != 0 || r.PossibleDuplicates != 0:
		tr.Errorf("%d events doubled, %d repeated, %d possible duplicates", r.Doubled, r.Repeated, r.PossibleDuplicates)
	}
	if r.OutOfOrder != 0 {
		tr.Errorf("%d events out of order", r.OutOfOrder)
	}
	if p.keysSplit {
		r.Kept = strings.TrimPrefix(r.Kept+"; order within a partition", "; ")
	} else if r.SplitKeys != 0 {
		tr.Errorf("%d keys in several partitions", r.SplitKeys)
	}
	if r.Kept == "" {
		r.Kept = "everything"
	}
	tr.Logf("load: %.0f events/s offered, %.1f s, statuses %v, %d without a reply; frames spooled %d, replayed %d; suppressed %d, possible %d, peak RSS %d MiB %s",
		tr.rate(), r.Seconds, r.Statuses, r.NoReply, r.SpooledFrames, r.ReplayedFrames, r.DuplicatesSuppressed, r.PossibleDuplicates, r.PeakRSS>>20, r.Note)
}

// figure is a number with commas.
func figure(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func reasons(m map[string]int64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] != 0 {
			parts = append(parts, fmt.Sprintf("%s %s", figure(m[k]), k))
		}
	}
	if parts == nil {
		return "0"
	}
	return strings.Join(parts, ", ")
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
