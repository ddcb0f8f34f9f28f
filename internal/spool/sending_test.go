package spool_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestSendingTogether: stamps that are noted together leave the same bytes as one after the other, also after a
// write that failed and was made again, and after a restart.
func TestSendingTogether(t *testing.T) {
	const queues = 40 // more than go in one write
	open := func(fs *spooltest.FS) *spool.Spool {
		s, err := spool.Open(spool.Config{Dir: "d", MaxBytes: 8 << 20}, spool.Deps{FS: fs, Boot: "boot"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	fs := []*spooltest.FS{spooltest.New(1 << 40), spooltest.New(1 << 40)}
	s := []*spool.Spool{open(fs[0]), open(fs[1])}
	rng := rand.New(rand.NewPCG(1, 2))
	writes := [2]int{}
	for round := range 60 {
		order := rng.Perm(queues)[:1+rng.IntN(queues)]
		fails := rng.IntN(10) == 0
		doneSoon := rng.IntN(2) == 0
		for i := range s {
			var sent []spool.Sent
			for _, id := range order {
				q := spooltest.Queue(s[i], "t", int32(id))
				pos, err := q.Append(spool.Meta{Events: 1}, []byte("batch"))
				if err != nil {
					t.Fatal(err)
				}
				sent = append(sent, spool.Sent{Queue: q, Pos: pos, Stamp: spool.Stamp{ProducerID: int64(round), BaseSequence: int32(id)}})
			}
			note := func() (err error) {
				if i == 0 {
					return s[i].Sending(sent)
				}
				for _, one := range sent {
					err = errors.Join(err, s[i].Sending([]spool.Sent{one}))
				}
				return err
			}
			if fails {
				fs[i].SetFault(func(op spooltest.Op, name string) error {
					if op == spooltest.OpWrite && filepath.Base(name) == "cursors" {
						return spool.ErrWrite
					}
					return nil
				})
				if note() == nil {
					t.Fatalf("round %d: no error", round)
				}
			}
			fs[i].SetFault(func(op spooltest.Op, name string) error {
				if op == spooltest.OpWrite {
					writes[i]++
				}
				return nil
			})
			if err := note(); err != nil {
				t.Fatal(err)
			}
			fs[i].SetFault(nil)
			for _, one := range sent {
				done := one.Queue.Done
				if doneSoon {
					done = one.Queue.DoneSoon
				}
				if one.Stamp.BaseSequence%2 == 0 {
					if err := done(one.Pos); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if rng.IntN(8) == 0 {
			for i := range s {
				fs[i] = fs[i].Kill()
				s[i] = open(fs[i])
			}
		}
		if !bytes.Equal(fs[0].Bytes("d/cursors"), fs[1].Bytes("d/cursors")) {
			t.Fatalf("round %d: the files differ", round)
		}
		for id := range queues {
			p, st, ok := s[0].Queue("t", int32(id)).Doubt()
			p2, st2, ok2 := s[1].Queue("t", int32(id)).Doubt()
			if p != p2 || st != st2 || ok != ok2 {
				t.Fatalf("round %d, queue %d: %v %v %v, want %v %v %v", round, id, p, st, ok, p2, st2, ok2)
			}
		}
	}
	if writes[0]*2 > writes[1] {
		t.Errorf("%d writes together, %d one by one", writes[0], writes[1])
	}
}
