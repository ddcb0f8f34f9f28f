package invocation

import (
	"fmt"
	"sync"
	"testing"
)

func id(i int) []byte { return fmt.Appendf(nil, "3da1f2dc-3222-475e-9205-%012d", i) }

func TestQuietWhenTheLastHasEnded(t *testing.T) {
	tr := New()
	if !tr.Quiet(0) {
		t.Error("not quiet at the start")
	}
	for i := range 1000 {
		tr.Start(id(i), 1)
		tr.Start(id(i), 2) // platform.start after the invocation event
	}
	if n := tr.Stats().Open; n != 1000 {
		t.Fatalf("%d open", n)
	}
	for i := range 1000 {
		if tr.Quiet(3) {
			t.Fatalf("quiet with %d open", 1000-i)
		}
		tr.End(id(i))
		tr.End(id(i)) // the report after runtimeDone
	}
	if !tr.Quiet(3) {
		t.Error("not quiet though all have ended")
	}
	tr.End(id(5000)) // never started
	tr.Start(nil, 4)
	if !tr.Quiet(4) {
		t.Error("an event without an id opened something")
	}
}

func TestLostEndsExpire(t *testing.T) {
	tr := New()
	ms := expiry.Milliseconds()
	tr.Start(id(1), 0)
	tr.Start(id(2), ms/2)
	if tr.Quiet(ms - 1) {
		t.Error("expired too early")
	}
	if tr.Quiet(ms) || tr.Stats().Open != 1 {
		t.Errorf("after the first expiry: %+v", tr.Stats())
	}
	if !tr.Quiet(ms+ms/2) || tr.Stats().Expired != 2 {
		t.Errorf("after the second expiry: %+v", tr.Stats())
	}
}

func TestBounded(t *testing.T) {
	tr := New()
	for i := range 3 * maxOpen {
		tr.Start(id(i), 0)
	}
	if s := tr.Stats(); s.Open != maxOpen || s.Untracked != 2*maxOpen {
		t.Errorf("%+v", s)
	}
	tr.Start(id(-1), expiry.Milliseconds()) // those whose end was lost make room
	if s := tr.Stats(); s.Open != 1 || s.Untracked != 2*maxOpen {
		t.Errorf("%+v", s)
	}
}

func TestConcurrentInvocations(t *testing.T) {
	tr := New()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := range 500 {
				tr.Start(id(g*500+i), 1)
				tr.Quiet(1)
				tr.End(id(g*500 + i))
			}
		})
	}
	wg.Wait()
	if !tr.Quiet(1) {
		t.Errorf("%+v", tr.Stats())
	}
}

func BenchmarkInvocation(b *testing.B) {
	tr := New()
	for i := range 1000 {
		tr.Start(id(i), 1)
	}
	one := id(-1)
	b.ReportAllocs()
	for b.Loop() {
		tr.Start(one, 1)
		tr.End(one)
		if tr.Quiet(1) {
			b.Fatal("quiet")
		}
	}
}
