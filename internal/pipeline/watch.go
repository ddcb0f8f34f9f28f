package pipeline

import "functiongraph-ingest/internal/metrics"

// Source is where the metrics of the pipeline come from.
func (p *Pipeline) Source() metrics.Source {
	return metrics.Source{
		Ledger: p.Ledger,
		Ready:  p.Ready,
		Gate: func() metrics.Usage {
			g := p.Gauges()
			return metrics.Usage{Used: g.GateBytes, Limit: g.GateCap}
		},
		GateWaiters: func() int64 { return int64(p.room.Waiting()) },
		Ring:        func() metrics.Usage { return metrics.Usage{Used: int64(p.ring.Len()), Limit: int64(p.ring.Cap())} },
		Conns: func() metrics.Usage {
			return metrics.Usage{Used: int64(p.server.Stats().OpenConns), Limit: int64(p.cfg.Listen.MaxConns)}
		},
	}
}

// Register adds what Source has no place for.
func (p *Pipeline) Register(m *metrics.Metrics) {
	m.Counter("ingest_listen_body_bytes_total", func() int64 { return p.server.Stats().Bytes })
	m.Counter("ingest_listen_empty_bodies_total", func() int64 { return p.server.Stats().EmptyBodies })
	m.Counter("ingest_listen_invocations_total", func() int64 { return p.server.Stats().Invocations })
	m.Counter("ingest_listen_ack_timeouts_total", func() int64 { return p.server.Stats().AckTimeouts })
	m.Gauge("ingest_listen_waiting_acks", func() float64 { return float64(p.server.Stats().WaitingAcks) })
	m.Counter("ingest_decode_odd_bodies_total", p.odd.Load)
	if t := p.invocations; t != nil {
		m.Gauge("ingest_invocations_open", func() float64 { return float64(t.Stats().Open) })
		m.Counter("ingest_invocations_untracked_total", func() int64 { return t.Stats().Untracked })
		m.Counter("ingest_invocations_expired_total", func() int64 { return t.Stats().Expired })
		m.Counter("ingest_invocations_flushes_total", p.quiets.Load)
	}
	m.Gauge("ingest_pool_body_bytes", func() float64 { return float64(p.room.Bytes()) })
}
