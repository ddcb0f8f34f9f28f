package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// longAnswer reads an answer whose ten pieces come after pauses, by a request that has 8 s. With others, another
// connection waits for the turn from 0.5 s on: waited is for how long.
func longAnswer(t *testing.T, others bool, pauses [10]time.Duration) (waited time.Duration, err error) {
	const piece = smallFrame / 5
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	pipe, theirs := net.Pipe()
	ours := &timed{Conn: pipe}
	c := &Conn{conn: ours, buf: make([]byte, 1<<10), limit: MaxFrame, large: newLarge()}
	c.interrupt = func() { _ = ours.SetDeadline(time.Unix(1, 0)) }
	go func() {
		_, _ = theirs.Write(binary.BigEndian.AppendUint32(nil, 10*piece))
		for _, d := range pauses {
			time.Sleep(d)
			_, _ = theirs.Write(make([]byte, piece))
		}
	}()
	if others {
		go func() {
			time.Sleep(time.Second / 2)
			since := time.Now()
			_ = c.large.take(ctx)
			waited = time.Since(since)
		}()
	}
	err = c.within(ctx, func() error {
		frame, done, err := c.readFrame(ctx)
		if err != nil {
			return err
		}
		done()
		if deadline, _ := ctx.Deadline(); len(frame) != 4+10*piece || !ours.until.Equal(deadline) {
			t.Errorf("%d bytes; the next read may last until %v, the request until %v", len(frame), ours.until, deadline)
		}
		return nil
	})
	_, _ = c.Close(), theirs.Close()
	time.Sleep(time.Hour) // all others end
	synctest.Wait()
	return waited, err
}

// timed knows until when reads may last.
type timed struct {
	net.Conn
	until time.Time
}

func (c *timed) SetReadDeadline(t time.Time) error {
	c.until = t
	return c.Conn.SetReadDeadline(t)
}

// Only one connection reads a long answer at a time. One whose broker hangs meanwhile fails as soon as another one waits;
// one that comes slowly is read whole, and so is one that pauses while nobody waits.
func TestALongAnswerThatHangsGivesWay(t *testing.T) {
	const s = time.Second
	steadily := [10]time.Duration{s / 4, s / 2, s / 2, s / 2, s / 2, s / 2, s / 2, s / 2, s / 2, s / 2}
	for name, tt := range map[string]struct {
		pauses [10]time.Duration
		others bool
		most   time.Duration // that the other connection waits
		whole  bool
	}{
		"at once":                    {[10]time.Duration{}, true, 0, true},
		"steadily":                   {steadily, true, 8 * s, true},
		"with a pause, alone":        {[10]time.Duration{5: 6 * s}, false, 0, true},
		"with a pause":               {[10]time.Duration{5: 6 * s}, true, 2 * s, false},
		"hangs at once":              {[10]time.Duration{0: time.Minute}, true, 2 * s, false},
		"hangs at once, alone":       {[10]time.Duration{0: time.Minute}, false, 0, false},
		"hangs at its end":           {[10]time.Duration{9: time.Minute}, true, 2 * s, false},
		"drips":                      {[10]time.Duration{3 * s, 3 * s, 3 * s, 3 * s}, true, 2 * s, false},
		"begins late, alone, drips":  {[10]time.Duration{6 * s, s, s, s}, false, 0, false},
		"begins late, alone, a rush": {[10]time.Duration{7 * s}, false, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				waited, err := longAnswer(t, tt.others, tt.pauses)
				if tt.whole != (err == nil) || err != nil && !errors.Is(err, context.DeadlineExceeded) || waited > tt.most {
					t.Errorf("%v, and the other connection waits for %v", err, waited)
				}
			})
		})
	}
}
