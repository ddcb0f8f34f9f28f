package simulator

import (
	"fmt"
	"slices"
)

// Kind is a kind of event of the protocol.
type Kind uint8

// The kinds.
const (
	InitStart Kind = iota
	InitRuntimeDone
	InitReport
	RestoreStart
	RestoreRuntimeDone
	RestoreReport
	Start
	RuntimeDone
	Report
	Function
	Extension
	numKinds
)

// String is the name as the reference's table spells it.
func (k Kind) String() string {
	switch k {
	case InitStart:
		return "platform.initStart"
	case InitRuntimeDone:
		return "platform.initRuntimeDone"
	case InitReport:
		return "platform.initReport"
	case RestoreStart:
		return "platform.restoreStart"
	case RestoreRuntimeDone:
		return "platform.restoreRuntimeDone"
	case RestoreReport:
		return "platform.restoreReport"
	case Start:
		return "platform.start"
	case RuntimeDone:
		return "platform.RuntimeDone"
	case Report:
		return "platform.report"
	case Function:
		return "function"
	}
	return "extension"
}

// Type is what an extension subscribes to: "platform", "function" or "extension".
func (k Kind) Type() string {
	if k.logs() {
		return k.String()
	}
	return "platform"
}

func (k Kind) start() bool  { return k == InitStart || k == RestoreStart || k == Start }
func (k Kind) report() bool { return k == InitReport || k == RestoreReport || k == Report }
func (k Kind) logs() bool   { return k == Function || k == Extension }

// invocation is one call of the function, from its start to its report.
type invocation struct {
	trace string
	todo  []Kind // events still to come, in order
}

// One invocation in so many finds a new instance, and the first of so many one that is restored from a snapshot: both
// send events of their own first. A process is restored once.
const coldEvery = 20

// burst starts invocations, all at once: a few as a rule, sometimes as many as the instance takes; always
// that many when it is steady.
func (g *Generator) burst(d *Delivery) {
	n := g.cfg.Concurrency - len(g.open)
	if n <= 0 {
		return
	}
	if !g.cfg.Steady {
		n = 1 + g.rng.IntN(1+g.rng.IntN(n))
	}
	for range n {
		v := g.invoke()
		g.open = append(g.open, v)
		d.Begun = append(d.Begun, v.trace)
	}
}

func (g *Generator) invoke() *invocation {
	v := &invocation{trace: g.trace()}
	switch n := g.rng.IntN(coldEvery); {
	case n == 0 || g.cfg.Cold && !g.cold:
		v.todo = append(v.todo, InitStart, Extension, InitRuntimeDone, InitReport)
		g.cold = true
	case n == 1 && !g.restored:
		v.todo = append(v.todo, RestoreStart, RestoreRuntimeDone, RestoreReport)
		g.restored = true
	}
	v.todo = append(v.todo, Start)
	for range g.rng.IntN(g.cfg.Logs + 1) {
		v.todo = append(v.todo, Function)
	}
	v.todo = append(v.todo, RuntimeDone, Report)
	if len(g.cfg.Types) > 0 {
		v.todo = g.subscribed(v.todo)
	}
	return v
}

// subscribed keeps the kinds of the types that are wanted: at least one.
func (g *Generator) subscribed(todo []Kind) []Kind {
	todo = slices.DeleteFunc(todo, func(k Kind) bool { return !slices.Contains(g.cfg.Types, k.Type()) })
	switch {
	case len(todo) > 0:
		return todo
	case slices.Contains(g.cfg.Types, Function.Type()):
		return append(todo, Function)
	}
	return append(todo, Extension)
}

// trace makes a request id. The stream is a part of it, so generators cannot meet.
func (g *Generator) trace() string {
	return fmt.Sprintf("%08x-%04x-11ee-%04x-%012x", g.rng.Uint32(), g.rng.IntN(1<<16), g.cfg.Stream, g.rng.Uint64()>>16)
}
