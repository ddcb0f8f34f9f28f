package kafka

import (
	"testing"
	"time"
)

// The clock is looked at with times that were never: monotonic readings come from time.Now, and Add moves
// both the wall clock and the monotonic one.
func TestThawIsFoundByALateTimer(t *testing.T) {
	now := time.Now()
	c := thawClock{epoch: now}
	c.sleeping(time.Minute)
	if c.thawed(now.Add(59 * time.Second)) {
		t.Error("the timer is not due yet")
	}
	if c.thawed(now.Add(61 * time.Second)) {
		t.Error("a second late is a busy CPU")
	}
	if !c.thawed(now.Add(time.Hour)) {
		t.Error("an hour late was not noticed")
	}
	c.awake() // the steward, after it
	if c.thawed(now.Add(time.Hour)) {
		t.Error("noticed twice")
	}
}

// The steward may wake before anybody sends.
func TestThawFoundByTheStewardIsKeptForTheNextSend(t *testing.T) {
	now := time.Now()
	c := thawClock{epoch: now}
	c.due.Store(-int64(time.Hour)) // due an hour before the epoch
	c.awake()
	if !c.thawed(now) || c.thawed(now) {
		t.Error("not told exactly once")
	}
}

// A machine that sleeps stops the monotonic clock: only the wall clock knows.
func TestThawIsFoundByTheWallClock(t *testing.T) {
	now := time.Now()
	c := thawClock{epoch: now}
	c.sleeping(time.Minute)
	c.skew.Add(-int64(time.Hour)) // as if the wall clock had been an hour behind
	if !c.thawed(now) || c.thawed(now) {
		t.Error("not told exactly once")
	}
	c.skew.Add(int64(time.Hour)) // set back: no freeze
	if c.thawed(now) {
		t.Error("a clock that was set back is no freeze")
	}
}

// While the steward is awake, however long it takes, no timer is late.
func TestSlowStewardIsNoFreeze(t *testing.T) {
	c := thawClock{epoch: time.Now()}
	c.sleeping(time.Minute)
	c.awake()
	if c.thawed(time.Now().Add(time.Hour)) {
		t.Error("a freeze was seen")
	}
}
