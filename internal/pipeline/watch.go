package pipeline

import (
	"functiongraph-ingest/internal/ledger"
	"functiongraph-ingest/internal/listen"
	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/pkg/sink"
)

// Register adds the metrics of the pipeline. dropReasons are the words of the sink for what it may drop.
func (p *Pipeline) Register(m *metrics.Metrics, dropReasons []string) {
	p.registerLedger(m, dropReasons)
	p.registerFront(m)
	m.Gauge("ingest_pipeline_ready_bool", "1 while a delivery that comes now would be answered 200 (/readyz).", func() float64 { return metrics.Bool(p.Ready() == nil) })
	d := metrics.Read(m, p.sink.Delivery)
	states := make([]string, 0, len(sink.States()))
	for _, s := range sink.States() {
		states = append(states, s.String())
	}
	m.State("ingest_delivery_state", "1 for the state of the delivery: do events reach Kafka? Alarm on failed and blocked.", "state", states, func() string { return d.State.String() })
	m.Gauge("ingest_delivery_trouble_bool", "1 while something keeps events from Kafka; /status says what.", func() float64 { return metrics.Bool(d.Trouble.Kind != "") })
	m.Gauge("ingest_delivery_dead_letter_trouble_bool", "1 while something keeps dead letters from their topic.", func() float64 { return metrics.Bool(d.DeadLetters.Kind != "") })
	m.Histogram("ingest_listen_answer_seconds", "From the header of a delivery to its answer, refusals included.", p.answers)
}

func (p *Pipeline) registerLedger(m *metrics.Metrics, dropReasons []string) {
	l := metrics.Read(m, p.Ledger)
	count := func(name, help string, f func(*ledger.Ledger) int64) {
		m.Counter("ingest_ledger_"+name, help, func() float64 { return float64(f(l)) })
	}
	level := func(name, help string, f func(*ledger.Ledger) int64) {
		m.Gauge("ingest_ledger_"+name, help, func() float64 { return float64(f(l)) })
	}
	count("admitted_events_total", "Events taken from clients; a bad region is one.", func(l *ledger.Ledger) int64 { return l.Admitted })
	count("recovered_events_total", "Events found in the spool at the start.", func(l *ledger.Ledger) int64 { return l.Recovered })
	count("delivered_events_total", "Events acknowledged by the topic.", func(l *ledger.Ledger) int64 { return l.Delivered })
	count("dead_lettered_events_total", "Events acknowledged by the dead-letter topic.", func(l *ledger.Ledger) int64 { return l.DeadLettered })
	count("set_aside_events_total", "Events too large for any topic, kept whole in a file.", func(l *ledger.Ledger) int64 { return l.SetAside })
	level("spooled_events", "Events on disk only, still to be sent.", func(l *ledger.Ledger) int64 { return l.Spooled })
	level("in_flight_events", "Events in memory that are not settled.", func(l *ledger.Ledger) int64 { return l.InFlight })
	level("missing_events", "Events that came in and are in no other term. Alarm on anything but 0.", (*ledger.Ledger).Missing)
	level("waiting_bodies", "Bodies that are taken and not decoded to their end.", func(l *ledger.Ledger) int64 { return l.Waiting.Bodies })
	level("waiting_bytes", "Bytes of these bodies.", func(l *ledger.Ledger) int64 { return l.Waiting.Bytes })
	m.Counters("ingest_ledger_dropped_events_total", "Events accepted and lost. Alarm on any increase.", "reason", dropReasons, func() map[string]int64 { return l.Dropped })
	count("possible_duplicate_events_total", "Events that may be in the topic twice.", func(l *ledger.Ledger) int64 { return l.PossibleDuplicates })
	count("suppressed_duplicate_events_total", "Events sent again whose first copy the broker recognised.", func(l *ledger.Ledger) int64 { return l.DuplicatesSuppressed })
	level("idempotent_bool", "1 if the destination recognises what is sent twice.", func(l *ledger.Ledger) int64 { return int64(metrics.Bool(l.Idempotent)) })
	count("own_lines_total", "Events left out because they hold nothing but our own log lines.", func(l *ledger.Ledger) int64 { return l.OwnLines })
	count("admitted_bodies_total", "Deliveries taken.", func(l *ledger.Ledger) int64 { return l.Bodies.Admitted })
	m.Counters("ingest_ledger_refused_bodies_total", "Deliveries and connections refused; nothing of them was taken.", "reason", listen.Reasons(), func() map[string]int64 { return l.Bodies.Refused })
}

func (p *Pipeline) registerFront(m *metrics.Metrics) {
	st := metrics.Read(m, p.server.Stats)
	m.Counter("ingest_listen_body_bytes_total", "Bytes of the bodies that were taken.", func() float64 { return float64(st.Bytes) })
	m.Counter("ingest_listen_refused_bytes_total", "Bytes announced by deliveries that were answered 503. In an extension they are probably lost.", func() float64 { return float64(st.RefusedBytes) })
	m.Counter("ingest_listen_empty_bodies_total", "Deliveries without a body, answered 200.", func() float64 { return float64(st.EmptyBodies) })
	m.Counter("ingest_listen_invocations_total", "Invocation events acknowledged.", func() float64 { return float64(st.Invocations) })
	m.Counter("ingest_listen_ack_timeouts_total", "Answers 504 because --ack-timeout or the stop came first.", func() float64 { return float64(st.AckTimeouts) })
	m.Counter("ingest_listen_partly_dropped_bodies_total", "Answers that told of dropped events of the body.", func() float64 { return float64(st.PartlyDropped) })
	m.Gauge("ingest_listen_waiting_acks", "Deliveries that wait for their acknowledgement.", func() float64 { return float64(st.WaitingAcks) })
	m.Usage("ingest_listen", "connections", "Open connections", func() metrics.Usage {
		return metrics.Usage{Used: int64(st.OpenConns), Limit: int64(p.cfg.Listen.MaxConns)}
	})
	g := metrics.Read(m, p.Gauges)
	m.Usage("ingest_gate", "bytes", "Bytes reserved for bodies", func() metrics.Usage { return metrics.Usage{Used: g.GateBytes, Limit: g.GateCap} })
	m.Gauge("ingest_gate_waiting_bodies", "Deliveries that wait for room.", func() float64 { return float64(g.GateWaiting) })
	m.Usage("ingest_ring", "bodies", "Bodies that wait for a decoder,", func() metrics.Usage {
		return metrics.Usage{Used: int64(g.RingItems), Limit: int64(g.RingCap)}
	})
	m.Gauge("ingest_pool_body_bytes", "Memory of body buffers, lent and idle.", func() float64 { return float64(g.BodyBytes) })
	m.Counter("ingest_decode_odd_bodies_total", "Bodies that are not quite JSON and lost nothing by it.", func() float64 { return float64(g.OddBodies) })
	if t := p.invocations; t != nil {
		m.Gauge("ingest_invocations_open", "Invocations that are open.", func() float64 { return float64(t.Stats().Open) })
		m.Counter("ingest_invocations_untracked_total", "Invocations beyond those that can be tracked.", func() float64 { return float64(t.Stats().Untracked) })
		m.Counter("ingest_invocations_expired_total", "Invocations whose end never came.", func() float64 { return float64(t.Stats().Expired) })
		m.Counter("ingest_invocations_flushes_total", "Flushes because the last open invocation ended.", func() float64 { return float64(p.idleFlushes.Load()) })
	}
}
