package faults

import (
	"slices"
	"testing"

	"functiongraph-ingest/test/kafkatest"
)

// TestOneBroker: everything that can go wrong with one broker, its topics, and the way to it.
func TestOneBroker(t *testing.T) {
	beside(t)
	l := newLab(t, kafkatest.WithSASL())
	must(t, l.kafka.SetPassword(user, "another one"))
	l.rows(t, oneBrokerRows())
}

// TestKilled: ingest is killed again and again.
func TestKilled(t *testing.T) {
	beside(t)
	newLab(t).rows(t, []row{killed()})
}

// TestFullDisk: there is no room in memory or on disk. It runs alone: the small disk has to be empty until the fault.
func TestFullDisk(t *testing.T) { newLab(t).rows(t, diskRows()) }

// TestThreeBrokers: leaders move.
func TestThreeBrokers(t *testing.T) {
	beside(t)
	l := newLab(t, kafkatest.WithBrokers(3), kafkatest.WithHeap("320m"))
	l.rows(t, threeBrokerRows())
}

// TestForgottenProducer: the broker forgets whom it has seen while a batch is in doubt.
func TestForgottenProducer(t *testing.T) {
	beside(t)
	l := newLab(t, kafkatest.WithProperty("producer.id.expiration.ms", "2000"),
		kafkatest.WithProperty("producer.id.expiration.check.interval.ms", "200"))
	l.rows(t, forgottenRows())
}

// everyRow is the whole table, in its order.
func everyRow() []row {
	rows := append(oneBrokerRows(), killed())
	return slices.Concat(rows, threeBrokerRows(), forgottenRows(), diskRows(), outageRows())
}

func (l *lab) rows(t *testing.T, rows []row) {
	for i := range rows {
		r := &rows[i]
		for _, m := range r.modesOf() {
			t.Run(r.fault+"/"+m.String(), func(t *testing.T) {
				if res := l.try(t, r, m); !t.Failed() {
					show(res)
				}
			})
		}
	}
}
