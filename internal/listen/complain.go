package listen

import (
	"log/slog"
	"time"
)

// complaintPause: the log has at most one line a minute about each cause for which clients are sent away.
const complaintPause = time.Minute

// causes are what an operator has to know of, with what helps. What a client does wrong by itself is only counted.
func causes() []cause {
	return []cause{
		{reasonFull, "deliveries are refused with 503: the memory for bodies is full. If Kafka keeps up, raise --memory-limit; else look at /readyz"},
		{reasonTooManyConns, "connections are refused with 503: as many as --max-conns are busy. Raise it, with --memory-limit"},
		{reasonSlow, "slow requests are ended with 408 because others wait for memory or a connection: raise --memory-limit, or lower --min-body-rate to be more patient"},
		{reasonFields, "requests with too many header fields are refused with 431"},
		{reasonHeaderTooLarge, "requests are refused with 431: raise --max-header-bytes if they are in order"},
	}
}

const replacedText = "connections without a whole request are closed for new ones: as many as --max-conns are open. Raise it, with --memory-limit"

type cause struct {
	reason reason
	text   string
}

// complaints is what was said. The watcher owns it.
type complaints struct {
	causes   []cause
	said     [reasons]complaint
	replaced complaint
}

type complaint struct {
	total int64
	tick  uint64
	once  bool
}

// complain writes the lines that are due. It is called once a tick.
func (s *Server) complain() {
	c := &s.complaint
	if c.causes == nil {
		c.causes = causes()
	}
	for _, cause := range c.causes {
		s.complainOf(&c.said[cause.reason], cause.text, s.count.refused[cause.reason].Load())
	}
	s.complainOf(&c.replaced, replacedText, s.conns.replaced.Load())
}

func (s *Server) complainOf(c *complaint, text string, total int64) {
	now := s.conns.now.Load()
	if total == c.total || c.once && time.Duration(now-c.tick)*s.limits.tick < complaintPause {
		return
	}
	s.deps.Logger.Warn(text, slog.Int64("count", total-c.total))
	c.total, c.tick, c.once = total, now, true
}
