package kafka

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// alone is a sink whose brokers refuse every connection, in a bubble where time passes by itself, and
// the count of the attempts.
func alone(t *testing.T) (*Sink, *atomic.Int32) {
	t.Helper()
	dials := &atomic.Int32{}
	s, err := New(Config{Brokers: []string{"nobody:9092"}, Topic: "t"}, Deps{
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("refused")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, dials
}

// fallAsleep lets ten minutes pass, and then as much as it takes until the last attempt is a while ago.
func fallAsleep(dials *atomic.Int32) {
	for d := 10 * time.Minute; during(dials, d) > 0; d = 2 * time.Second {
	}
}

// during counts what is dialled in d.
func during(dials *atomic.Int32, d time.Duration) int {
	before := dials.Load()
	time.Sleep(d) // of the bubble
	synctest.Wait()
	return int(dials.Load() - before)
}

// A sink that has nothing to send hardly looks for a cluster that is away.
func TestNobodyWaitsHardlyAnyAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dials := alone(t)
		first := during(dials, time.Minute)
		if first < 5 || first > 10 {
			t.Errorf("%d attempts in the first minute", first)
		}
		if n := during(dials, 10*time.Minute); n < 20 || n > 41 {
			t.Errorf("%d attempts in ten more", n)
		}
		s.Close(ended())
	})
}

// The first event that waits is as good as one that came before the rest: at once, and then every second.
func TestAnEventEndsTheRest(t *testing.T) {
	for name, put := range map[string]func(context.Context, *Sink){
		"event": func(ctx context.Context, s *Sink) {
			s.Append(ctx, []sink.Record{{Value: []byte("x")}}, nil)
		},
		"dead letter": func(ctx context.Context, s *Sink) {
			s.DeadLetter(ctx, &sink.DeadLetter{Raw: []byte("x"), Reason: "bad"}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dials := alone(t)
				fallAsleep(dials)
				ctx, cancel := context.WithCancel(t.Context())
				before := dials.Load()
				go put(ctx, s)
				synctest.Wait()
				if n := dials.Load() - before; n != 1 {
					t.Errorf("%d attempts at once", n)
				}
				if n := during(dials, 30*time.Second); n < 29 || n > 40 {
					t.Errorf("%d attempts in 30 s while it waits", n)
				}
				cancel()
				s.Close(ended())
			})
		})
	}
}

// Wake has the cluster looked for at once, and no more often than once a second however often that happens.
func TestWakeEndsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dials := alone(t)
		fallAsleep(dials)
		before := dials.Load()
		s.Wake()
		synctest.Wait()
		if n := dials.Load() - before; n != 1 {
			t.Errorf("%d attempts at once", n)
		}
		before = dials.Load()
		for range 10_000 {
			time.Sleep(time.Millisecond)
			s.Wake()
		}
		if n := dials.Load() - before; n < 8 || n > 11 {
			t.Errorf("%d attempts in 10 s of 10,000 questions", n)
		}
		s.Close(ended())
	})
}

// An open status page, a scrape of the metrics and "ingest top" ask every second: what is watched rests all the same.
func TestWatchingDoesNotEndTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dials := alone(t)
		fallAsleep(dials)
		before := dials.Load()
		for range 600 {
			time.Sleep(time.Second)
			if s.Ready() == nil {
				t.Error("ready")
			}
			s.Delivery()
			s.Stats()
			s.Inside(8)
			s.Metrics()
		}
		if n := dials.Load() - before; n > 41 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		s.Close(ended())
	})
}

// With an empty spool, no cluster and nothing to send there is nothing to wait for at the end.
func TestNothingToSendNothingToWaitForAtTheEnd(t *testing.T) {
	s, err := New(Config{Brokers: []string{"127.0.0.1:9"}, Topic: "t"}, Deps{OpenSpool: openTestSpool(t, t.TempDir(), 64<<20)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(patient(t)); err != nil {
		t.Errorf("%v after all the time there was", err)
	}
}
