package body

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"functiongraph-ingest/pkg/ring"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
)

func TestLongestBody(t *testing.T) {
	for _, c := range []struct{ room, want int64 }{
		{6 * mib, 4 * mib}, {18 * mib, 8 * mib}, {4 * mib, 2 * mib}, {5 * mib, 2 * mib}, {1, 1},
	} {
		got := LongestBody(c.room)
		if got != c.want {
			t.Errorf("a room of %d takes %d, want %d", c.room, got, c.want)
		}
	}
	for n := 2 * mib; n < 64*mib; n += 12345 {
		if got := LongestBody(n); Charge(got) != got || got > longShare(n) || 2*got < longShare(n)/2 {
			t.Fatalf("a room of %d takes %d", n, got)
		}
	}
}

// What is reserved at first follows what has arrived, not what is announced.
func TestFirstReservation(t *testing.T) {
	big, small := NewRoom(RoomConfig{Items: 8, Bytes: 18 * mib, MaxBody: 4 * mib}), NewRoom(RoomConfig{Items: 8, Bytes: 6 * mib, MaxBody: 4 * mib})
	for _, c := range []struct {
		room             *Room
		n, arrived, want int64
	}{
		{big, 1, 0, 2 * kib},
		{big, 4 * kib, 0, 4 * kib},
		{big, 4*kib + 1, 0, 4 * kib},
		{big, 64 * kib, 0, 4 * kib},
		{big, 4 * mib, 0, 4 * kib},
		{big, Unknown, 0, 4 * kib},
		{big, Unknown, mib, 4 * kib},
		{big, 30 * kib, 4*kib - 1, 4 * kib},
		{big, 30 * kib, 4 * kib, 32 * kib},
		{big, 64*kib + 1, 64*kib - 1, 4 * kib},
		{big, 64*kib + 1, 64 * kib, 128 * kib},
		{big, 4 * mib, 64 * kib, 4 * mib},
		{small, 4 * mib, 32*kib - 1, 4 * kib},
		{small, 4 * mib, 32 * kib, 4 * mib},
	} {
		if got := c.room.First(c.n, c.arrived); got != c.want {
			t.Errorf("a body of %d bytes, %d arrived: %d, want %d", c.n, c.arrived, got, c.want)
		}
	}
}

// steps is the sizes of the buffers through which a body goes, if it is the only one.
func steps(t *testing.T, r *Room, total int64) (sizes []int64, end error) {
	t.Helper()
	charge := r.First(total, 0)
	if err := r.Reserve(t.Context(), charge, 0); err != nil {
		t.Fatal(err)
	}
	b := r.Lend(charge)
	for {
		sizes = append(sizes, b.Charge())
		if total != Unknown && b.Charge() >= total {
			break
		}
		if b, end = r.Grow(t.Context(), b, total, 0); end != nil {
			break
		}
	}
	r.Release(b)
	empty(t, r)
	return sizes, end
}

func empty(t *testing.T, r *Room) {
	t.Helper()
	for i, g := range []*ring.Gate{r.all, r.long, r.growing} {
		if items, bytes := g.InUse(); items != 0 || bytes != 0 {
			t.Errorf("%d items and %d bytes are left at gate %d", items, bytes, i)
		}
	}
}

func TestStepsOfGrowth(t *testing.T) {
	equal := func(name string, got []int64, want ...int64) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %d, want %d", name, got, want)
			return
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%s: %d, want %d", name, got, want)
				return
			}
		}
	}
	r := NewRoom(RoomConfig{Items: 8, Bytes: 18 * mib, MaxBody: 4 * mib})
	short, err := steps(t, r, 60*kib)
	equal("short", short, 4*kib, 64*kib)
	long, err2 := steps(t, r, 3*mib)
	equal("long", long, 4*kib, 64*kib, 4*mib)
	unknown, err3 := steps(t, r, Unknown)
	equal("unknown", unknown, 4*kib, 64*kib, 128*kib, 256*kib, 512*kib, mib, 2*mib, 4*mib)
	if err != nil || err2 != nil || err3 != ring.ErrTooLarge {
		t.Error(err, err2, err3)
	}
	small := NewRoom(RoomConfig{Items: 8, Bytes: 6 * mib, MaxBody: 4 * mib})
	unknown, _ = steps(t, small, Unknown)
	equal("unknown in a small room", unknown, 4*kib, 32*kib, 64*kib, 128*kib, 256*kib, 4*mib)
	for _, tiny := range []RoomConfig{{Items: 1, Bytes: 64 * kib, MaxBody: 4 * mib}, {Items: 1, Bytes: 300 * kib, MaxBody: 100}, {Items: 1, Bytes: 8 * kib, MaxBody: 4 * kib}} {
		r := NewRoom(tiny)
		if got, err := steps(t, r, Unknown); err != ring.ErrTooLarge || got[len(got)-1] != r.maxBody {
			t.Errorf("%+v: %d, %v", tiny, got, err)
		}
	}
}

// Long bodies that take all they may, and more that wait, leave a quarter to short ones, which do not wait.
func TestLongBodiesLeaveRoomForShortOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoom(RoomConfig{Items: 1024, Bytes: 18 * mib, MaxBody: 4 * mib})
		for range 3 {
			if err := r.Reserve(t.Context(), 4*mib, 0); err != nil {
				t.Fatal(err)
			}
		}
		var served atomic.Int32
		for range 5 {
			go func() {
				if r.Reserve(t.Context(), 4*mib, time.Hour) == nil {
					served.Add(1)
					r.Cancel(4 * mib)
				}
			}()
		}
		synctest.Wait()
		if n := r.Waiting(); n != 5 {
			t.Errorf("%d wait", n)
		}
		for i := range 72 { // 4.5 MiB
			if err := r.Reserve(t.Context(), 64*kib, 0); err != nil {
				t.Fatalf("short body %d: %v", i, err)
			}
		}
		for range 3 {
			r.Cancel(4 * mib)
		}
		synctest.Wait()
		if served.Load() != 5 {
			t.Errorf("%d of 5 were served when the others were done", served.Load())
		}
		for range 72 {
			r.Cancel(64 * kib)
		}
		empty(t, r)
	})
}

// A long body is served while short ones come without pause and take all that is free.
func TestShortBodiesDoNotStarveALongOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoom(RoomConfig{Items: 1024, Bytes: 6 * mib, MaxBody: 4 * mib})
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				for ctx.Err() == nil {
					if r.Reserve(ctx, 64*kib, time.Hour) == nil {
						time.Sleep(time.Millisecond)
						r.Cancel(64 * kib)
					}
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		began := time.Now() // of the bubble: nothing but the bodies takes time
		if err := r.Reserve(t.Context(), 4*mib, time.Second); err != nil {
			t.Errorf("the long one: %v", err)
		}
		t.Logf("it waited %v", time.Since(began))
		r.Cancel(4 * mib)
		stop()
		all.Wait()
		empty(t, r)
	})
}

// TestNoMixDeadlocks: bodies of every kind, of which many announce much and stop anywhere, all come to their
// end. A deadlock would end in a wait of an hour, because who stops does so sooner.
func TestNoMixDeadlocks(t *testing.T) {
	for _, c := range []RoomConfig{
		{Items: 1024, Bytes: 6 * mib, MaxBody: 4 * mib},
		{Items: 1024, Bytes: 18 * mib, MaxBody: 4 * mib},
		{Items: 64, Bytes: 4 * mib, MaxBody: 2 * mib},
		{Items: 1024, Bytes: 3 * mib, MaxBody: 300 * kib},
		{Items: 8, Bytes: 6 * mib, MaxBody: 4 * mib},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := NewRoom(c)
			_, limit := r.Limits()
			var all sync.WaitGroup
			var done, stopped atomic.Int64
			for i := range 150 {
				rnd := rand.New(rand.NewPCG(uint64(i), uint64(c.Bytes)))
				all.Go(func() {
					for range 8 {
						one(t, r, rnd, &done, &stopped)
						if _, bytes := r.InUse(); bytes > limit {
							t.Errorf("%d bytes of %d", bytes, limit)
						}
						if _, bytes := r.long.InUse(); bytes > r.LongLimit() {
							t.Errorf("long bodies have %d bytes of %d", bytes, r.LongLimit())
						}
					}
				})
			}
			all.Wait()
			if r.pool.Size() > limit {
				t.Errorf("%d bytes of buffers in a room of %d", r.pool.Size(), limit)
			}
			t.Logf("%d bodies came whole, %d stopped", done.Load(), stopped.Load())
			empty(t, r)
		})
	}
}

// one is the life of one body.
func one(t *testing.T, r *Room, rnd *rand.Rand, done, stopped *atomic.Int64) {
	size := 1 + rnd.Int64N(r.maxBody>>rnd.IntN(12)) // as many small ones as large ones
	total := size
	if rnd.IntN(3) == 0 {
		total = Unknown
	}
	stop := size
	if rnd.IntN(4) == 0 {
		stop = rnd.Int64N(size) // a trickle: no more comes
	}
	charge := r.First(total, rnd.Int64N(2)*stop)
	if err := r.Reserve(t.Context(), charge, time.Hour); err != nil {
		t.Errorf("%d bytes: %v", charge, err)
		return
	}
	b := r.Lend(charge)
	for b.Charge() < stop {
		time.Sleep(time.Duration(rnd.IntN(1000)) * time.Microsecond)
		bigger, err := r.Grow(t.Context(), b, total, time.Hour)
		if err != nil {
			t.Errorf("%d of %d bytes: %v", b.Charge(), total, err)
			break
		}
		b = bigger
	}
	if stop < size {
		stopped.Add(1)
		time.Sleep(time.Second) // then it is ended
	} else {
		done.Add(1)
	}
	r.Release(b)
}

// Grown bodies keep their bytes.
func TestGrowKeepsTheBytes(t *testing.T) {
	r := NewRoom(RoomConfig{Items: 1, Bytes: 6 * mib, MaxBody: 4 * mib})
	if err := r.Reserve(t.Context(), r.First(Unknown, 0), 0); err != nil {
		t.Fatal(err)
	}
	b := r.Lend(r.First(Unknown, 0))
	n := 0
	for b.Charge() < 4*mib {
		for ; n < len(b.Buffer()); n++ {
			b.Buffer()[n] = byte(n * 7 / 3)
		}
		var err error
		if b, err = r.Grow(t.Context(), b, Unknown, 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if b.Buffer()[i] != byte(i*7/3) {
			t.Fatalf("byte %d", i)
		}
	}
	r.Release(b)
}

// After Close nothing is reserved, and a body that waits is told.
func TestRoomClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoom(RoomConfig{Items: 8, Bytes: 6 * mib, MaxBody: 4 * mib})
		if err := r.Reserve(t.Context(), 4*mib, 0); err != nil {
			t.Fatal(err)
		}
		if err := r.Reserve(t.Context(), 4*kib, 0); err != nil {
			t.Fatal(err)
		}
		b := r.Lend(4 * kib)
		told := make(chan error, 2)
		go func() { told <- r.Reserve(t.Context(), 4*mib, time.Hour) }()
		go func() {
			for {
				bigger, err := r.Grow(t.Context(), b, 4*mib, time.Hour)
				if b = bigger; err != nil {
					told <- err
					return
				}
			}
		}()
		synctest.Wait()
		r.Close()
		for range 2 {
			if err := <-told; err != ring.ErrClosed {
				t.Error(err)
			}
		}
		if err := r.Reserve(t.Context(), 1, time.Hour); err != ring.ErrClosed {
			t.Error(err)
		}
		r.Cancel(4 * mib)
		r.Release(b)
		empty(t, r)
	})
}

func TestRoomFor(t *testing.T) {
	for _, n := range []int64{1, 2, 4096, 4097, 1 << 20, 3 << 20, 4 << 20, 1 << 30} {
		room := RoomFor(n)
		if got := LongestBody(room); got < n {
			t.Errorf("a room of %d for %d takes %d", room, n, got)
		}
		if less := room - room/50 - 200; less > 0 && LongestBody(less) >= n && n > 4096 && n&(n-1) == 0 {
			t.Errorf("a room of %d takes %d too", less, n)
		}
	}
}
