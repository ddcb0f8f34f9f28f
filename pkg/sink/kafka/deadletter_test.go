package kafka

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

func smallBuffers(cfg *Config, _ *Deps) {
	cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 16*recordbatch.ChunkSize
}

// Whatever keeps dead letters from their topic for good, good events go on.
func TestRefusedDeadLettersDoNotStopGoodEvents(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]kfake.Fault{
		"write refused":    {Keys: []kmsg.Key{kmsg.Produce}, Topic: "t.dlq", Err: kerr.TopicAuthorizationFailed, Count: -1},
		"describe refused": {Keys: []kmsg.Key{kmsg.Metadata}, Topic: "t.dlq", Err: kerr.TopicAuthorizationFailed, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
			c.Fault(f)
			s := start(t, c, smallBuffers)
			queuedDeadLetters(t, s, 100, nil)
			want := appendAll(t, s, 100, 10, nil)
			waitFor(t, func() bool { return s.Stats().Delivered == 100 })
			if st := s.Stats(); st.Dropped["dead_letter_unavailable"] == 0 || st.Dropped["dead_letter_unavailable"]+st.InFlight != 100 {
				t.Errorf("stats %+v", st)
			}
			checkKeyed(t, consume(t, c, "t", 100), want)
		})
	}
}

// kafka-go refuses a whole request when it does not know one topic of it.
func TestDeletedDeadLetterTopicDoesNotStopGoodEvents(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = 50 * time.Millisecond })
	queuedDeadLetters(t, s, 1, nil)
	waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
	forbidTopics(c)
	if err := c.DeleteTopic("t.dlq"); err != nil {
		t.Fatal(err)
	}
	queuedDeadLetters(t, s, 1, nil)
	waitFor(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.dead.lanes[0].broker == nil })
	appendAll(t, s, 100, 10, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 100 })
}

// The cached metadata says that the topic is missing, the broker that it exists.
func TestDeadLetterTopicMadeByAnotherIsFound(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = time.Hour })
	waitFor(t, func() bool { return s.Ready() == nil })
	if err := c.CreateTopic("t.dlq", 1, nil); err != nil {
		t.Fatal(err)
	}
	queuedDeadLetters(t, s, 1, nil)
	waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
}

// A topic that cannot be created just now is no reason to drop what it is for.
func TestTransientFailureToCreateTheDeadLetterTopicDropsNothing(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.NotController, Count: 2})
	s := start(t, c, func(cfg *Config, d *Deps) {
		smallBuffers(cfg, d)
		d.stuckAfter = time.Hour // on a slow machine it is missing for long
	})
	var ack ackCount
	queuedDeadLetters(t, s, 100, &ack)
	if st := closeSink(t, s); st.DeadLettered != 100 {
		t.Errorf("stats %+v", st)
	}
	ack.check(t, 0)
}

// Records that the topic refuses one by one wait in memory while the dead-letter topic cannot take them.
// That memory is bounded: the lane waits.
func TestRefusedRecordsAreBoundedWhileTheyCannotBeBuried(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1, kfake.SeedTopics(1, "t.dlq"))
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.InvalidRecord, Count: -1})
	dlq := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t.dlq", Err: kerr.NotEnoughReplicas, Count: -1})
	s := start(t, c, smallBuffers)
	var ack ackCount
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 400 {
			r := sink.Record{Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 1000), Timestamp: 1}
			if _, err := s.Append(patient(t), []sink.Record{r}, &ack); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	full := func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.waiting == 1 && s.dead.held > 0 }
	waitFor(t, full)
	again := s.Metrics().Retries
	waitFor(t, func() bool { return full() && s.Metrics().Retries > 50+again })
	s.mu.Lock()
	if limit := s.cfg.BufferBytes/deadLetterShare + recordbatch.ChunkSize; s.dead.held > limit {
		t.Errorf("dead letters hold %d bytes, want at most %d", s.dead.held, limit)
	}
	s.mu.Unlock()
	dlq.Remove()
	<-done
	if st := closeSink(t, s); st.DeadLettered != 400 {
		t.Errorf("stats %+v", st)
	}
	ack.check(t, 0)
}

// The memory of a split is counted as it is: whole chunks.
func TestPrivateMemoryIsCountedInChunks(t *testing.T) {
	s := &Sink{}
	l := &lane{topic: &topic{core: &s.core}}
	r := record("k", 1)
	b := s.privateBatch(l, &r, nil, recordbatch.RecordSize(r.Key, r.Value, r.Headers))
	s.enqueue(l, b)
	if b.private != recordbatch.ChunkSize {
		t.Errorf("a private batch of one small record counts %d bytes, and takes %d", b.private, recordbatch.ChunkSize)
	}
}

// The event was dropped and its notice could not be placed: the source must hear of it.
func TestDroppedWholeIsToldToItsSource(t *testing.T) {
	c := cluster(t, 1)
	c.ControlKey(0, hold(t, c))
	s := start(t, c, func(cfg *Config, d *Deps) {
		smallBuffers(cfg, d)
		d.SetAside = func([]byte, [32]byte) error { return errDisk }
	})
	raw := bytes.Repeat([]byte("x"), maxDeadLetterBytes+1)
	var ack ackCount
	s.mu.Lock()
	s.dead.held += 1 << 30 // no room for the notice
	s.mu.Unlock()
	if err := s.DeadLetter(ended(), &sink.DeadLetter{Raw: raw, Reason: "not_object"}, &ack); err != nil {
		t.Errorf("the event is settled: %v", err)
	}
	ack.check(t, 1)
	s.mu.Lock()
	s.dead.held -= 1 << 30
	s.mu.Unlock()
}

// asking is an Ack that uses the sink: it hangs when it is told under the sink's lock.
type asking struct{ s *Sink }

func (asking) Hold()        {}
func (a asking) Settle(int) { a.s.Stats() }

func TestSettleIsNotCalledUnderTheLock(t *testing.T) {
	c := cluster(t, 1)
	forbidTopics(c)
	s := start(t, c, smallBuffers)
	queuedDeadLetters(t, s, 100, asking{s})
	if s.Stats().Dropped["dead_letter_unavailable"] == 0 {
		t.Error("nothing was dropped")
	}
}

// Setting aside is I/O: it must not stop every append.
func TestSetAsideDoesNotHoldTheLock(t *testing.T) {
	c := cluster(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "2000"}))
	var s *Sink
	s = start(t, c, func(cfg *Config, d *Deps) {
		d.SetAside = func([]byte, [32]byte) error { s.Stats(); return nil }
	})
	var ack ackCount
	s.Append(patient(t), []sink.Record{{Key: []byte("k"), Value: bytes.Repeat([]byte("z"), maxDeadLetterBytes+1), Timestamp: 1}}, &ack)
	waitFor(t, func() bool { return s.Stats().SetAside == 1 })
	s.Close(patient(t))
	ack.check(t, 0)
}

func TestDeadLetters(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(_ *Config, d *Deps) {
		d.Origin = func() []sink.Header { return []sink.Header{{Key: "ingest-instance", Value: []byte("i")}} }
	})
	var ack ackCount
	raw := []byte(`{"name":"x",}`)
	if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "bad_structure", Offset: 7, ErrorOffset: 19, BodyID: 42, Key: []byte("a1"), Timestamp: 5}, &ack); err != nil {
		t.Fatal(err)
	}
	st := closeSink(t, s)
	ack.check(t, 0)
	if st.DeadLettered != 1 {
		t.Errorf("stats %+v", st)
	}
	r := consume(t, c, "t.dlq", 1)[0]
	for key, want := range map[string]string{HeaderReason: "bad_structure", headerOffset: "7", headerErrorOffset: "19", headerSize: "13", headerBodyID: "42",
		HeaderTopic: "t", "ingest-instance": "i"} {
		if got := header(r, key); got != want {
			t.Errorf("header %s = %q, want %q", key, got, want)
		}
	}
	if string(r.Value) != string(raw) || string(r.Key) != "a1" {
		t.Errorf("key %q, value %q", r.Key, r.Value)
	}
}

func TestHugeDeadLetterIsSetAsideAndANoticeSent(t *testing.T) {
	t.Parallel()
	raw := []byte(strings.Repeat("no json ", 300_000))
	sum := sha256.Sum256(raw)
	for _, works := range []bool{true, false} {
		c := cluster(t, 1)
		var kept []byte
		s := start(t, c, func(_ *Config, d *Deps) {
			d.SetAside = func(raw []byte, got [32]byte) error {
				if !works {
					return errors.New("disk full")
				}
				if got != sum {
					t.Error("wrong checksum")
				}
				kept = append([]byte(nil), raw...)
				return nil
			}
		})
		var ack ackCount
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "not_object"}, &ack); err != nil {
			t.Fatal(err)
		}
		st := closeSink(t, s)
		if works {
			ack.check(t, 0)
			if st.SetAside != 1 || st.DeadLettered != 0 || len(st.Dropped) != 0 || string(kept) != string(raw) {
				t.Errorf("stats %+v", st)
			}
		} else {
			ack.check(t, 1)
			if ack.hopeless != 1 {
				t.Error("its source should not send it again")
			}
			if st.SetAside != 0 || st.Dropped["too_large"] != 1 {
				t.Errorf("stats %+v", st)
			}
		}
		r := consume(t, c, "t.dlq", 1)[0]
		if len(r.Value) != truncatedBytes || header(r, HeaderTruncated) != "true" || header(r, headerSHA256) != hex.EncodeToString(sum[:]) {
			t.Errorf("notice: %d bytes, %v", len(r.Value), r.Headers)
		}
	}
}

// The dead-letter topic is missing and may not be created: good events go on, bad ones are held up to a
// share of the buffers and then dropped, counted.
func TestMissingDeadLetterTopicDoesNotStopGoodEvents(t *testing.T) {
	t.Parallel()
	c := cluster(t, 1)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	s := start(t, c, func(cfg *Config, _ *Deps) {
		cfg.BatchBytes, cfg.BufferBytes = recordbatch.ChunkSize, 16*recordbatch.ChunkSize
	})
	var ack ackCount
	raw := []byte(strings.Repeat("b", 1000))
	for range 100 {
		if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: raw, Reason: "bad_value"}, &ack); err != nil {
			t.Fatal(err)
		}
	}
	want := appendAll(t, s, 1000, 10, nil)
	waitFor(t, func() bool { return s.Stats().Delivered == 1000 })
	if err := s.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	st := s.Stats()
	if st.Dropped["dead_letter_unavailable"] == 0 || st.Dropped["dead_letter_unavailable"]+st.InFlight != 100 {
		t.Errorf("stats %+v", st)
	}
	s.Close(ended())
	checkKeyed(t, consume(t, c, "t", 1000), want)
}

// An event that is too large even for the dead-letter topic leaves a notice with the same headers and the same key as
// any dead letter, so that its place can be found.
func TestNoticesHaveTheHeadersOfDeadLetters(t *testing.T) {
	c := cluster(t, 1)
	s := start(t, c, func(_ *Config, d *Deps) {
		d.SetAside = func([]byte, [32]byte) error { return nil }
		d.Origin = func() []sink.Header { return []sink.Header{{Key: "ingest-function", Value: []byte("f")}} }
	})
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: 1})
	var ack ackCount
	ctx := patient(t)
	big := sink.Record{Key: []byte("k"), Value: bytes.Repeat([]byte("z"), maxDeadLetterBytes+1), Timestamp: 1, BodyID: 42, Offset: 7}
	if _, err := s.Append(ctx, []sink.Record{big}, &ack); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.Stats().SetAside == 1 })
	if err := s.DeadLetter(ctx, &sink.DeadLetter{Raw: []byte("{"), Reason: "truncated", Key: []byte("k"), BodyID: 42}, &ack); err != nil {
		t.Fatal(err)
	}
	closeSink(t, s)
	ack.check(t, 0)
	rs := consume(t, c, "t.dlq", 2)
	notice, letter := rs[0], rs[1]
	if header(notice, HeaderTruncated) == "" {
		notice, letter = letter, notice
	}
	for _, h := range letter.Headers {
		if header(notice, h.Key) == "" {
			t.Errorf("the notice has no %s: %v", h.Key, notice.Headers)
		}
	}
	if string(notice.Key) != "k" || header(notice, headerBodyID) != "42" || header(notice, headerOffset) != "7" || header(notice, HeaderTopic) != "t" {
		t.Errorf("key %q, headers %v", notice.Key, notice.Headers)
	}
}

// An event too large for any topic that cannot be set aside, or a dead letter that its own topic refuses, ends the same
// when it is sent again: its source hears so, and hears nothing of the kind where a resend helps.
func TestLossesThatAResendCannotMend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		fault    kfake.Fault
		record   bool // else a dead letter
		reason   string
		hopeless int
	}{
		{"too large to keep", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: kerr.MessageTooLarge, Count: -1}, true, droppedTooLarge, 1},
		{"refused as a dead letter", kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: -1}, false, droppedDeadRefused, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster(t, 1)
			c.Fault(tt.fault)
			s := start(t, c, func(_ *Config, d *Deps) {
				d.SetAside = func([]byte, [32]byte) error { return errors.New("disk full") }
			})
			var ack ackCount
			var err error
			if tt.record {
				_, err = s.Append(patient(t), []sink.Record{{Key: []byte("k"), Value: bytes.Repeat([]byte("z"), maxDeadLetterBytes+1), Timestamp: 1}}, &ack)
			} else {
				err = s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("{"), Reason: "truncated"}, &ack)
			}
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return s.Stats().Dropped[tt.reason] == 1 })
			closeSink(t, s)
			ack.check(t, 1)
			if ack.hopeless != tt.hopeless {
				t.Errorf("%d", ack.hopeless)
			}
		})
	}
}

// Dead letters that wait for an operator are sent seconds after the permission was granted, not with the next regular
// look at the cluster.
func TestDeadLettersThatWaitAreSentSoonAfterTheTopicIsMended(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]kmsg.Key{"it may not be seen": kmsg.Metadata, "it may not be made": kmsg.CreateTopics} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t, 1)
			fault := c.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Topic: "t.dlq", Err: kerr.TopicAuthorizationFailed, Count: -1})
			s := start(t, c, func(cfg *Config, _ *Deps) { cfg.MetadataTTL = time.Hour })
			waitFor(t, func() bool { return s.Ready() == nil })
			if err := s.DeadLetter(patient(t), &sink.DeadLetter{Raw: []byte("bad"), Reason: "bad_value"}, nil); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return s.Delivery().DeadLetters.Kind != "" })
			if key == kmsg.Metadata {
				if err := c.CreateTopic("t.dlq", 1, nil); err != nil {
					t.Fatal(err)
				}
			}
			fault.Remove()
			waitFor(t, func() bool { return s.Stats().DeadLettered == 1 })
		})
	}
}
