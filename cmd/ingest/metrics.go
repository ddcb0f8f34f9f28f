package main

import (
	"fmt"
	"runtime/debug"
	"time"

	"functiongraph-ingest/internal/metrics"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/decode"
	"functiongraph-ingest/pkg/sink/kafka"
)

// observed are the histograms of the Kafka sink. It implements kafka.Observer: each method is called once for a request, a
// batch or a sync, and does not block.
type observed struct {
	requests, acks, ages, sizes, syncs *metrics.Histogram
}

func newObserved() *observed {
	return &observed{
		requests: metrics.Seconds(time.Millisecond/4, 32*time.Second),
		acks:     metrics.Seconds(time.Millisecond/4, 32*time.Second),
		ages:     metrics.Seconds(time.Millisecond, 36*time.Hour),
		sizes:    metrics.Bytes(256, 1<<20),
		syncs:    metrics.Seconds(time.Millisecond/32, 8*time.Second),
	}
}

// Request implements kafka.Observer.
func (o *observed) Request(d time.Duration) { o.requests.Observe(d.Microseconds()) }

// Acked implements kafka.Observer.
func (o *observed) Acked(bytes int, sinceFirst, sinceAdmitted time.Duration) {
	o.sizes.Observe(int64(bytes))
	o.acks.Observe(sinceFirst.Microseconds())
	o.ages.Observe(sinceAdmitted.Microseconds())
}

// Synced implements kafka.Observer.
func (o *observed) Synced(d time.Duration) { o.syncs.Observe(d.Microseconds()) }

// registerBuild adds the metrics that name version, build and start of the process.
func registerBuild(m *metrics.Metrics) {
	m.Process()
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	m.Info("ingest_build_info", "Always 1; the labels say which build this is.",
		[2]string{"version", info.Main.Version}, [2]string{"revision", revision}, [2]string{"goversion", info.GoVersion})
}

// registerKafka adds the figures of the Kafka sink.
func registerKafka(m *metrics.Metrics, s *kafka.Sink, o *observed) {
	k := metrics.Read(m, func() kafka.Metrics { return s.Metrics() })
	count := func(name, help string, f func(*kafka.Metrics) int64) {
		m.Counter("ingest_kafka_"+name, help, func() float64 { return float64(f(k)) })
	}
	count("requests_total", "Produce requests, those without an answer included.", func(k *kafka.Metrics) int64 { return k.Requests })
	count("batches_total", "Batches in these requests, those sent again included.", func(k *kafka.Metrics) int64 { return k.Batches })
	count("wire_bytes_total", "Bytes of batches as sent.", func(k *kafka.Metrics) int64 { return k.WireBytes })
	count("raw_bytes_total", "Bytes of batches before compression.", func(k *kafka.Metrics) int64 { return k.RawBytes })
	count("retries_total", "Batches sent again.", func(k *kafka.Metrics) int64 { return k.Retries })
	count("splits_total", "Batches that the broker refused whole and that were taken apart.", func(k *kafka.Metrics) int64 { return k.Splits })
	count("producer_renewals_total", "Stamps that the broker refused: a new epoch or a new producer id.", func(k *kafka.Metrics) int64 { return k.Renewals })
	count("producer_collisions_total", "First sends answered as resends: another producer has the same id.", func(k *kafka.Metrics) int64 { return k.Collisions })
	count("refreshes_total", "Forced looks at the leaders of the cluster.", func(k *kafka.Metrics) int64 { return k.Refreshes })
	count("thaws_total", "Times that the process had stood still, so that connections were renewed.", func(k *kafka.Metrics) int64 { return k.Thaws })
	m.Counter("ingest_kafka_throttled_seconds_total", "Time for which brokers asked this client to wait (quotas).", func() float64 { return k.Throttled.Seconds() })
	m.Counters("ingest_kafka_request_errors_total", "Produce requests that got no answer, by broker id.", "broker", nil, func() map[string]int64 {
		byName := map[string]int64{}
		for id, n := range k.RequestErrors {
			byName[fmt.Sprint(id)] = n
		}
		return byName
	})
	m.Counters("ingest_dead_letters_total", "Dead letters taken, by reason; delivered ones are in ingest_ledger_dead_lettered_events_total.", "reason",
		deadReasons(), func() map[string]int64 { return k.DeadReasons })
	m.Usage("ingest_kafka_buffers", "bytes", "Bytes of batch buffers", func() metrics.Usage { return metrics.Usage{Used: k.BufferBytes, Limit: k.BufferLimit} })
	m.Gauge("ingest_kafka_private_bytes", "Bytes of oversize records and split batches, outside of the buffers.", func() float64 { return float64(k.PrivateBytes) })
	m.Histogram("ingest_kafka_request_seconds", "From a produce request to its answer or failure.", o.requests)
	m.Histogram("ingest_kafka_ack_seconds", "From the first event of a batch to its acknowledgement.", o.acks)
	m.Histogram("ingest_delivery_age_seconds", "From the admission of the oldest event of a batch to its acknowledgement, time on disk included; with --timestamp=event from its own time.", o.ages)
	m.Histogram("ingest_kafka_batch_bytes", "Size of acknowledged batches as sent.", o.sizes)
}

// deadReasons are all reasons of dead letters.
func deadReasons() []string {
	var words []string
	for _, r := range decode.Reasons() {
		words = append(words, r.String())
	}
	return append(words, kafka.DeadReasons()...)
}

// registerDisk adds the figures of the spool, and of the sink about it.
func registerDisk(m *metrics.Metrics, d *disk, s *kafka.Sink, o *observed) {
	st := metrics.Read(m, d.stats)
	k := metrics.Read(m, func() kafka.Metrics { return s.Metrics() })
	count := func(name, help string, f func(*spool.Stats) int64) {
		m.Counter("ingest_spool_"+name, help, func() float64 { return float64(f(st)) })
	}
	level := func(name, help string, f func(*spool.Stats) int64) {
		m.Gauge("ingest_spool_"+name, help, func() float64 { return float64(f(st)) })
	}
	count("lost_events_total", "Events in frames that were damaged after they had been counted. Alarm.", func(st *spool.Stats) int64 { return st.LostEvents })
	count("quarantined_total", "Damaged regions that were copied to quarantine. Alarm.", func(st *spool.Stats) int64 { return st.Quarantined })
	count("quarantined_events_total", "Events in damaged frames that were found at the start.", func(st *spool.Stats) int64 { return st.QuarantinedEvents })
	count("torn_tails_total", "Writes that a kill cut short; no damage.", func(st *spool.Stats) int64 { return st.Torn })
	count("lost_cursors_total", "Partitions whose cursor was lost: duplicates are possible.", func(st *spool.Stats) int64 { return st.LostCursors })
	count("cursor_errors_total", "Writes of the cursor that failed: duplicates are possible after the next start.", func(st *spool.Stats) int64 { return st.CursorErrors })
	count("write_errors_total", "Writes and syncs that failed. Alarm.", func(st *spool.Stats) int64 { return st.WriteErrors })
	count("recovered_frames_total", "Frames found at the start.", func(st *spool.Stats) int64 { return st.RecoveredFrames })
	level("frames", "Frames that are still to be sent.", func(st *spool.Stats) int64 { return int64(st.Frames) })
	m.Usage("ingest_spool", "bytes", "Bytes of segments, quarantine and set-aside files", func() metrics.Usage { return metrics.Usage{Used: st.Bytes, Limit: st.MaxBytes} })
	level("quarantine_bytes", "Bytes in quarantine, part of the same bound; an operator should look.", func(st *spool.Stats) int64 { return st.QuarantineBytes })
	level("set_aside_bytes", "Bytes of set-aside files, part of the same bound; an operator should look.", func(st *spool.Stats) int64 { return st.SetAsideBytes })
	level("unclean_start_bool", "1 if the last process left no closing mark.", func(st *spool.Stats) int64 { return int64(metrics.Bool(st.UncleanStart)) })
	m.Gauge("ingest_spool_oldest_seconds", "Age of the oldest segment with frames that are still to be sent: no event on disk waits for longer. 0: none waits.", func() float64 {
		if st.OldestCreated == 0 {
			return 0
		}
		return max(0, time.Since(time.UnixMilli(st.OldestCreated)).Seconds())
	})
	m.Gauge("ingest_spool_foreign_segments", "Segments of another format version: they stay untouched.", func() float64 { return float64(d.foreign.Load()) })
	m.Counter("ingest_spool_written_frames_total", "Frames written.", func() float64 { return float64(k.SpilledFrames) })
	m.Counter("ingest_spool_replayed_frames_total", "Frames read back and acknowledged.", func() float64 { return float64(k.ReplayedFrames) })
	m.Histogram("ingest_spool_sync_seconds", "Rounds of waiting for the disk.", o.syncs)
	m.State("ingest_spool_state", "1 for the state of the spool: idle, overflow (Kafka is behind), full, failed. Alarm on the last two.", "state",
		[]string{"idle", "overflow", "full", "failed"}, func() string { return k.SpoolState.String() })
}
