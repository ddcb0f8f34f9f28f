package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// large is the turn to read an answer longer than smallFrame: one connection of a Dialer has it at a time, which bounds
// the memory of all.
type large struct {
	turn    chan struct{}
	waiting atomic.Int32 // connections that wait for it
}

func newLarge() *large { return &large{turn: make(chan struct{}, 1)} }

// take waits for the turn until ctx ends.
func (l *large) take(ctx context.Context) error {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *large) giveBack() { <-l.turn }

// readLarge is readRest for the connection that has the turn. A broker that hangs in the middle of its answer must not
// keep the answers of others from being read until its request ends. So the time that the request has left is cut into
// largeSteps: while another connection waits for the turn, each step must bring its part of the answer, or the request
// fails. The price: an answer over a slow link that would come whole in time fails when it pauses for a whole step, or
// comes much slower in one step than in others, and another one waits. Alone it has all of the time.
func (c *Conn) readLarge(ctx context.Context, n, total int) ([]byte, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.readRest(n, total, nil)
	}
	step, part := time.Until(deadline)/largeSteps, (total-n)/largeSteps
	c.readUntil(ctx, time.Now().Add(step))
	defer c.readUntil(ctx, deadline)
	was := n
	return c.readRest(n, total, func(n int, err error) error {
		now := time.Now()
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil || !now.Before(deadline):
			return err
		case c.large.waiting.Load() > 0 && n-was < part:
			return fmt.Errorf("%d of the %d bytes of its answer have come, which is too slow while others wait: %w", n, total, context.DeadlineExceeded)
		}
		was = n
		c.readUntil(ctx, now.Add(step))
		return nil
	})
}

// readUntil has reads end at a time, or with ctx.
func (c *Conn) readUntil(ctx context.Context, at time.Time) {
	_ = c.conn.SetReadDeadline(at)
	if ctx.Err() != nil { // its interrupt may have come before
		c.interrupt()
	}
}
