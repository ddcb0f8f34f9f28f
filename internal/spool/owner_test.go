package spool_test

import (
	"bytes"
	"fmt"

	"functiongraph-ingest/internal/spool"
)

// own does what a lane does: it writes, commits, reads, sends and finishes frames of one queue.
func own(s *spool.Spool, q *spool.Queue, id uint64) error {
	next, buf := id, []byte(nil)
	for round := range uint64(200) {
		pos, err := q.Append(spool.Meta{Events: 1}, batchOf(id+round))
		if err != nil {
			return err
		}
		if round%5 == 0 {
			if err := s.Sync(pos, pos); err != nil {
				return err
			}
		}
		for frames, _, _ := q.Len(); frames > 3 || round == 199 && frames > 0; frames, _, _ = q.Len() {
			f, at, err := q.Peek(buf[:0])
			if err != nil {
				return err
			}
			if buf = f.Batch; !bytes.Equal(f.Batch, batchOf(next)) {
				return fmt.Errorf("frame %v is not the next one", at)
			}
			next++
			if err := q.Sending(at, stampOf(at)); err != nil {
				return err
			}
			if err := q.Done(at); err != nil {
				return err
			}
		}
	}
	return nil
}
