package faults

import (
	"flag"
	"testing"
	"time"
)

var (
	all   = flag.Bool("all", false, "the whole table, not its short form")
	write = flag.Bool("write", false, "put the figures into docs/guarantees.md and bench/results/faults.json")
)

// mode is how ingest answers, and whether it has a spool.
type mode struct {
	ack   string
	spool bool
}

func (m mode) String() string {
	if m.spool && m.ack != "disk" {
		return m.ack + "+spool"
	}
	return m.ack
}

var (
	accept      = mode{"accept", false}
	acceptSpool = mode{"accept", true}
	disk        = mode{"disk", true}
	kafkaAck    = mode{"kafka", false}
	kafkaSpool  = mode{"kafka", true}
	everyMode   = []mode{accept, acceptSpool, disk, kafkaAck, kafkaSpool}
	spoolModes  = []mode{acceptSpool, disk, kafkaSpool}
)

// promise is what a mode promises under a fault; the zero value is everything. Whatever it is, the ledger
// is exact and nothing is damaged, foreign, or delivered though it was refused.
type promise struct {
	lossCounted    bool // acked events may be lost, as many as the ledger says were dropped
	lossUncounted  bool // acked events may be lost: the process that knew of them was killed
	doublesCounted bool // events may be doubled, no more than possibleDuplicates
	keysSplit      bool // a key may be in several partitions; its order holds within each
}

// row is one fault. It is tried once for each of its modes.
type row struct {
	fault   string // as the table calls it
	modes   []mode
	short   []mode // those of the short form
	promise func(mode) promise

	topic map[string]string // configuration of the topic
	args  []string          // of ingest
	proxy bool              // ingest reaches the brokers through the proxies only
	login bool              // ingest logs in as user with password
	// unready: the trouble is there from the start, so ingest does not get ready and the trouble begins with the load.
	unready bool
	rate    float64 // events per second; 0: 25,000
	events  int64   // 0: 150,000
	conns   int     // 0: 32
	endless bool    // the load goes on until the trouble stops it
	disk    int64   // size of the file system of the spool, in bytes; 0: the machine's
	// trouble makes the fault and ends it, while the load goes on. It runs when a quarter of the load has been
	// admitted.
	trouble func(*trial)
	// check looks at the result, for what else the row must show.
	check func(*trial, *result)
}

func (r *row) modesOf() []mode {
	if *all {
		return r.modes
	}
	return r.short
}

// beside lets a test of the short form run beside others: it has a cluster of its own, and waits most of the time. The
// long form takes figures, which others would disturb.
func beside(t *testing.T) {
	if !*all {
		t.Parallel()
	}
}

func everything(mode) promise { return promise{} }

const (
	user     = "ingest"
	password = "the right one"
)

// lasts lets the load run on for a while in its present state: faults are defined by how long they last.
func (tr *trial) lasts(d time.Duration) {
	tr.Helper()
	select {
	case <-time.After(d):
	case <-tr.Context().Done():
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
