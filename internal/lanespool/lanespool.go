// Package lanespool fits the disk queue of package spool to what the Kafka sink asks of one. The two do not
// know each other: the sink is a library that others may give a spool of their own.
package lanespool

import (
	"errors"
	"fmt"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/pkg/sink/kafka"
)

// Open opens a spool directory for the sink: the value of kafka.Deps.OpenSpool, with its arguments bound.
func Open(cfg spool.Config, deps spool.Deps) (*Spool, error) {
	s, err := spool.Open(cfg, deps)
	if err != nil {
		return nil, translate(err)
	}
	return &Spool{Spool: s}, nil
}

// Spool is a spool.Spool as a kafka.Spool.
type Spool struct {
	*spool.Spool
	frames []spool.Write // of Append, which has one caller at a time
}

var _ kafka.Spool = (*Spool)(nil)

// Queue implements kafka.Spool.
func (s *Spool) Queue(topic string, partition int32) kafka.SpoolQueue {
	return &queue{s.Spool.Queue(topic, partition)}
}

// Queues implements kafka.Spool.
func (s *Spool) Queues() []kafka.SpoolQueue {
	list := s.Spool.Queues()
	out := make([]kafka.SpoolQueue, len(list))
	for i, q := range list {
		out[i] = &queue{q}
	}
	return out
}

// Append implements kafka.Spool.
func (s *Spool) Append(frames []kafka.SpoolWrite) (n int, err error) {
	s.frames = s.frames[:0]
	for i := range frames {
		w := &frames[i]
		s.frames = append(s.frames, spool.Write{
			Queue: w.Queue.(*queue).Queue, Meta: meta(w.SpoolMeta), Batch: w.Wire, Summed: true, Checksum: w.Checksum, InDoubt: w.InDoubt, Stamp: spool.Stamp(w.Stamp),
		})
	}
	n, err = s.Spool.Append(s.frames)
	for i := range n {
		frames[i].Pos = uint64(s.frames[i].Pos)
	}
	clear(s.frames)
	return n, translate(err)
}

// Room implements kafka.Spool.
func (s *Spool) Room(bytes int64) error { return translate(s.Spool.Room(bytes)) }

// Sending implements kafka.Spool.
func (s *Spool) Sending(frames []kafka.SpoolSent) error {
	var buf [16]spool.Sent
	sent := buf[:0]
	for _, f := range frames {
		sent = append(sent, spool.Sent{Queue: f.Queue.(*queue).Queue, Pos: spool.Pos(f.Pos), Stamp: spool.Stamp(f.Stamp)})
	}
	return s.Spool.Sending(sent)
}

// Sync implements kafka.Spool.
func (s *Spool) Sync(first, last uint64) error {
	return s.Spool.Sync(spool.Pos(first), spool.Pos(last))
}

// Stats implements kafka.Spool.
func (s *Spool) Stats() kafka.SpoolStats {
	st := s.Spool.Stats()
	return kafka.SpoolStats{
		Recovered: st.RecoveredEvents + st.QuarantinedEvents, Quarantined: st.QuarantinedEvents, Lost: st.LostEvents, NoSync: st.Memory,
	}
}

type queue struct{ *spool.Queue }

func (q *queue) Head() (pos uint64, bytes int64, events int, ok bool) {
	p, bytes, events, ok := q.Queue.Head()
	return uint64(p), bytes, events, ok
}

func (q *queue) HeadWritten() (uint64, int64) {
	pos, at := q.Queue.HeadWritten()
	return uint64(pos), at
}

func (q *queue) Tail() uint64 { return uint64(q.Queue.Tail()) }

func (q *queue) Bytes() int64 {
	_, _, bytes := q.Len()
	return bytes
}

func (q *queue) PeekAfter(pos uint64, buf []byte) (kafka.SpoolFrame, error) {
	f, at, err := q.Queue.PeekAfter(spool.Pos(pos), buf)
	if err != nil {
		return kafka.SpoolFrame{}, translate(err)
	}
	return kafka.SpoolFrame{
		SpoolMeta: kafka.SpoolMeta{Events: int(f.Events), Records: int(f.Records), FirstTimestamp: f.FirstTimestamp, WrittenAt: f.WrittenAt},
		Pos:       uint64(at), Wire: f.Batch, Buf: f.Batch[:cap(f.Batch)],
	}, nil
}

func (q *queue) DoneSoon(pos uint64) error { return q.Queue.DoneSoon(spool.Pos(pos)) }

func (q *queue) Done(pos uint64) error { return q.Queue.Done(spool.Pos(pos)) }

func (q *queue) Doubt() (uint64, kafka.SpoolStamp, bool) {
	pos, st, ok := q.Queue.Doubt()
	return uint64(pos), kafka.SpoolStamp(st), ok
}

func (q *queue) Suspect() (uint64, bool) {
	pos, ok := q.Queue.Suspect()
	return uint64(pos), ok
}

func meta(m kafka.SpoolMeta) spool.Meta {
	return spool.Meta{Events: int32(m.Events), Records: int32(m.Records), FirstTimestamp: m.FirstTimestamp, WrittenAt: m.WrittenAt, Replaces: spool.Pos(m.Replaces)}
}

// translate gives the errors that the sink acts on their names there; the texts stay.
func translate(err error) error {
	switch {
	case errors.Is(err, spool.ErrFull), errors.Is(err, spool.ErrTooLarge):
		return fmt.Errorf("%w: %w", kafka.ErrSpoolFull, err)
	case errors.Is(err, spool.ErrLocked):
		return fmt.Errorf("%w: %w", kafka.ErrSpoolBusy, err)
	}
	return err
}
