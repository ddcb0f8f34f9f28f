package faults

import (
	"testing"

	"functiongraph-ingest/test/kafkatest"
)

// TestOneBroker: everything that can go wrong with one broker, its topics, and the way to it.
func TestOneBroker(t *testing.T) {
	l := newLab(t, kafkatest.WithSASL())
	must(t, l.kafka.SetPassword(user, "another one"))
	l.rows(t, oneBrokerRows())
}

// TestThreeBrokers: leaders move.
func TestThreeBrokers(t *testing.T) {
	l := newLab(t, kafkatest.WithBrokers(3), kafkatest.WithHeap("320m"))
	l.rows(t, threeBrokerRows())
}

// TestForgottenProducer: the broker forgets whom it has seen while a batch is in doubt.
func TestForgottenProducer(t *testing.T) {
	l := newLab(t, kafkatest.WithProperty("producer.id.expiration.ms", "2000"),
		kafkatest.WithProperty("producer.id.expiration.check.interval.ms", "200"))
	l.rows(t, forgottenRows())
}

func (l *lab) rows(t *testing.T, rows []row) {
	for i := range rows {
		r := &rows[i]
		for _, m := range r.modesOf() {
			t.Run(r.fault+"/"+m.String(), func(t *testing.T) { show(l.try(t, r, m)) })
		}
	}
}
