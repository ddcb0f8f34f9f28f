package listen

import "testing"

func TestRetryAfterFollowsTheCrowd(t *testing.T) {
	var p pace
	p.init()
	admitted, refused := int64(0), int64(0)
	tick := func(a, r int64) int32 {
		admitted, refused = admitted+a, refused+r
		p.tick(admitted, refused)
		return p.seconds.Load()
	}
	if s := tick(100, 0); s != 1 {
		t.Errorf("nothing refused: %d s", s)
	}
	if s := tick(100, 60); s != 1 {
		t.Errorf("fewer refused than admitted: %d s", s)
	}
	last := int32(1)
	for range 12 {
		s := tick(10, 1000)
		if s < last || s > maxRetryAfter {
			t.Fatalf("crowd: %d s after %d s", s, last)
		}
		last = s
	}
	if last != maxRetryAfter {
		t.Errorf("a lasting crowd: %d s", last)
	}
	if s := tick(100, 50); s != last {
		t.Errorf("about right: %d s, want it kept", s)
	}
	for range 20 {
		last = tick(100, 1)
	}
	if last != minRetryAfter {
		t.Errorf("the crowd has gone: %d s", last)
	}
	if p.header() != "1" {
		t.Error(p.header())
	}
}
