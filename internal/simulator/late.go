package simulator

import "time"

// lateLine is a line of a log that was written and not sent yet.
type lateLine struct {
	at time.Time
	of *invocation
}

// lateEvery is in how many events one line comes that is late, while there are any.
const lateEvery = 4

// hold writes the next line of v, and does not send it before v has ended.
func (g *Generator) hold(v *invocation) {
	g.now = g.now.Add(time.Millisecond)
	g.late = append(g.late, lateLine{g.now, v})
	v.todo = v.todo[1:]
}

// lateLine appends a line of an invocation that has ended; false: there is none, or not now.
func (g *Generator) lateLine(d *Delivery) bool {
	if len(g.late) == 0 || len(g.late[0].of.todo) > 0 || len(g.open) > 0 && g.rng.IntN(lateEvery) > 0 {
		return false
	}
	line := g.late[0]
	g.late = g.late[1:]
	e := Event{ID: makeID(g.cfg.Stream, g.seq), Kind: Function, Invocation: line.of.trace}
	g.seq++
	now := g.now
	g.now = line.at
	d.begin(&e)
	d.Body = g.appendEvent(d.Body, &e)
	d.end(&e)
	g.now = now
	return true
}

// keepUp lets no less time pass than there does.
func (g *Generator) keepUp() {
	if g.cfg.Now == nil {
		return
	}
	if now := g.cfg.Now().UTC(); now.After(g.now) {
		g.now = now
	}
}
