package logging

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// Level is what is logged. It implements slog.Leveler; all methods are safe for concurrent use.
type Level struct {
	now slog.LevelVar

	mu     sync.Mutex
	before *slog.Level // the level to which Toggle goes back; nil: it does not
}

// NewLevel returns the level that word means: debug, info, warn or error. Another word means info.
func NewLevel(word string) *Level {
	l := &Level{}
	_ = l.Set(word)
	return l
}

// Level implements slog.Leveler.
func (l *Level) Level() slog.Level { return l.now.Level() }

// String is the word for the level.
func (l *Level) String() string { return strings.ToLower(l.now.Level().String()) }

// Set changes the level to debug, info, warn or error.
func (l *Level) Set(word string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(word, level.String()) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.now.Set(level)
			l.before = nil
			return nil
		}
	}
	return fmt.Errorf("%.20q is no log level: it must be one of debug, info, warn, error", word)
}

// Toggle changes the level to debug, and the next call changes it back to what it was, unless Set was called between.
func (l *Level) Toggle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now.Level()
	switch {
	case l.before != nil:
		l.now.Set(*l.before)
		l.before = nil
	case now != slog.LevelDebug:
		l.before = &now
		l.now.Set(slog.LevelDebug)
	}
}

// Change runs change and says in the log when the level is another one afterwards; by is what asked for it. A level
// above info hides that line too.
func (l *Level) Change(log *slog.Logger, by string, change func() error) error {
	before := l.Level()
	err := change()
	if l.Level() != before {
		log.Info("the log level has changed", "level", l.String(), "by", by)
	}
	return err
}
