package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"functiongraph-ingest/internal/admin"
)

// gauges are the figures of ingest that are shown, from /metrics.
type gauges struct {
	admitted, delivered, deadLettered float64 // events so far
	ring, gate, buffers, spool        fill
	batches, rawBytes, wireBytes      float64 // so far
	cpuSeconds, rss                   float64
}

// fill is how much of a bounded thing is in use.
type fill struct{ used, limit float64 }

func (f fill) share() float64 {
	if f.limit <= 0 {
		return 0
	}
	return min(1, f.used/f.limit)
}

// scrape reads /metrics.
func (p *ingest) scrape(ctx context.Context) (gauges, error) {
	status, body, err := p.get(ctx, "/metrics")
	if err != nil {
		return gauges{}, err
	}
	if status != http.StatusOK {
		return gauges{}, fmt.Errorf("/metrics answered %d", status)
	}
	return readGauges(string(body)), nil
}

// status reads /status.
func (p *ingest) status(ctx context.Context) (s admin.Status, err error) {
	code, body, err := p.get(ctx, "/status")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/status answered %d", code)
	}
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// readGauges finds the figures in Prometheus' text format. One that is missing is 0: what is shown live is
// for the eye, the account at the end does not rest on it.
func readGauges(text string) gauges {
	var g gauges
	into := map[string]*float64{
		"ingest_ledger_admitted_events_total":      &g.admitted,
		"ingest_ledger_delivered_events_total":     &g.delivered,
		"ingest_ledger_dead_lettered_events_total": &g.deadLettered,
		"ingest_ring_used_bodies":                  &g.ring.used,
		"ingest_ring_limit_bodies":                 &g.ring.limit,
		"ingest_gate_used_bytes":                   &g.gate.used,
		"ingest_gate_limit_bytes":                  &g.gate.limit,
		"ingest_kafka_buffers_used_bytes":          &g.buffers.used,
		"ingest_kafka_buffers_limit_bytes":         &g.buffers.limit,
		"ingest_spool_used_bytes":                  &g.spool.used,
		"ingest_spool_limit_bytes":                 &g.spool.limit,
		"ingest_kafka_batches_total":               &g.batches,
		"ingest_kafka_raw_bytes_total":             &g.rawBytes,
		"ingest_kafka_wire_bytes_total":            &g.wireBytes,
		"process_cpu_seconds_total":                &g.cpuSeconds,
		"process_resident_memory_bytes":            &g.rss,
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if p := into[name]; p != nil {
			*p, _ = strconv.ParseFloat(value, 64)
		}
	}
	return g
}
