package spoolctl

import (
	"fmt"
	"io"
	"strings"
	"time"

	"functiongraph-ingest/internal/config"
)

const (
	barWidth  = 30
	barEvery  = 100 * time.Millisecond
	lineEvery = 5 * time.Second
)

// Progress tells how far a walk is: a bar that is drawn over on a terminal, a line every five seconds
// elsewhere, and nothing for what takes less. A nil Progress is silent.
type Progress struct {
	w        io.Writer
	now      func() time.Time
	terminal bool
	text     func(done, total int64) string
	next     time.Time
	drawn    bool
}

// NewProgress writes to w. text says how far in words: Bytes or Events.
func NewProgress(w io.Writer, terminal bool, now func() time.Time, text func(done, total int64) string) *Progress {
	p := &Progress{w: w, now: now, terminal: terminal, text: text}
	p.next = now().Add(p.every())
	return p
}

func (p *Progress) every() time.Duration {
	if p.terminal {
		return barEvery
	}
	return lineEvery
}

// Bytes is the progress of a walk.
func Bytes(done, total int64) string { return size(done) + " of " + size(total) }

// Events is the progress of a replay.
func Events(done, total int64) string { return fmt.Sprintf("%d of %d events", done, total) }

// At says that done of total are behind.
func (p *Progress) At(done, total int64) {
	if p == nil || total <= 0 {
		return
	}
	now := p.now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(p.every())
	done = min(max(done, 0), total)
	percent, text := 100*done/total, p.text(done, total)
	if !p.terminal {
		fmt.Fprintf(p.w, "ingest: %d%%, %s\n", percent, text)
		return
	}
	full := int(barWidth * done / total)
	fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %3d%% %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent, text)
	p.drawn = true
}

// End wipes the bar away. It is called before anything is printed while a walk goes on.
func (p *Progress) End() {
	if p != nil && p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// size is n bytes for people: three digits and a unit.
func size(n int64) string {
	for _, u := range []struct {
		name string
		size config.Bytes
	}{{"GiB", config.GiB}, {"MiB", config.MiB}, {"KiB", config.KiB}} {
		if f := float64(n) / float64(u.size); f >= 1 {
			return fmt.Sprintf("%.1f%s", f, u.name)
		}
	}
	return fmt.Sprintf("%dB", n)
}
