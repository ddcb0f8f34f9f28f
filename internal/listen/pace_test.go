package listen

import (
	"testing"
	"time"
)

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

// TestPatienceFollowsTheCrowd: while more bodies are refused than admitted each waits longer for its room, and
// not at all longer when none is admitted, because then nothing will come of it.
func TestPatienceFollowsTheCrowd(t *testing.T) {
	var p pace
	p.init()
	admitted, refused := int64(0), int64(0)
	const setting = 20 * time.Millisecond
	tick := func(a, r int64) time.Duration {
		admitted, refused = admitted+a, refused+r
		p.tick(admitted, refused)
		return p.wait(setting)
	}
	if w := tick(100, 20); w != setting {
		t.Errorf("few refused: %v", w)
	}
	if w := tick(100, 30); w <= setting {
		t.Errorf("more than a quarter refused: %v", w)
	}
	if w := tick(100, 1); w != setting {
		t.Errorf("hardly any refused: %v", w)
	}
	last := setting
	for range 12 {
		w := tick(10, 1000)
		if w < last {
			t.Fatalf("crowd: %v after %v", w, last)
		}
		last = w
	}
	if last != maxPatience*setting {
		t.Errorf("a lasting crowd: %v", last)
	}
	if w := p.wait(time.Second); w != longestWait {
		t.Errorf("a long setting: %v", w)
	}
	if w := p.wait(time.Minute); w != time.Minute {
		t.Errorf("a setting beyond the bound: %v", w)
	}
	if w := p.wait(0); w != 0 {
		t.Errorf("no waiting: %v", w)
	}
	if w := tick(0, 1000); w != setting {
		t.Errorf("nothing is admitted: %v", w)
	}
	for range 12 {
		tick(10, 1000)
	}
	for range 20 {
		last = tick(100, 1)
	}
	if last != setting {
		t.Errorf("the crowd has gone: %v", last)
	}
}
