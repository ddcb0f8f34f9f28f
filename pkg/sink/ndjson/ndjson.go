// Package ndjson is the sink that writes one line per event: to a file, or to a stream for another
// program to read.
//
// A good event is its own bytes, on one line: raw line breaks between its tokens become blanks, which
// changes nothing in its meaning. A dead letter is {"deadLetter":{"reason":…,"offset":…,"errorOffset":…,
// "bodyId":…,"raw":"<base64>"}}, because it may not be JSON. Keys, headers and timestamps are not written.
//
// # What it promises
//
// An event counts as delivered when the writer has taken its whole line; there is no sync to a disk. A writer that
// takes nothing (a full pipe, a full disk) makes Append wait, like any sink without room, and nothing else: Stats, Ready
// and Close do not wait for it. A write error is retried until Close, from the byte at which it happened, so
// that no line is torn or doubled. Only a pipe whose reader is gone is final: what it has not taken is dropped with
// reason [DroppedGone], and [Sink.Gone] tells.
//
// What a Close that cannot wait finds in a pipe is delivered: of a write that hangs it has taken nothing, because no write
// to it is longer than a pipe takes as a whole. A line of up to 4096 bytes is not torn by that.
//
// A file stays open. When it is renamed, lines go on into the renamed file.
package ndjson

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"functiongraph-ingest/pkg/sink"
)

// DroppedGone is the reason of events that came when the reader of the output was gone.
const DroppedGone = "output_gone"

const (
	// queueBytes bounds the lines that wait for the writer; as many again are being written. One line is always
	// taken, whatever its length.
	queueBytes = 256 << 10
	retryMin   = 10 * time.Millisecond // after a write error; doubles
	retryMax   = time.Second
	// pipeBuf is PIPE_BUF of Linux: a pipe takes so much as a whole or not at all. While a longer write hangs, it is not
	// known what the pipe has of it.
	pipeBuf = 4 << 10
	// stalledAfter is how long the writer may take nothing until that is a state.
	stalledAfter = time.Second
)

// lines are complete lines, and whose they are.
type lines struct {
	text  []byte
	parts []part
}

// part is a number of lines that are settled together.
type part struct {
	end    int // of its last line, in text
	events int
	bad    bool // dead letters
	ack    sink.Ack
}

// Sink writes to one io.Writer, from one goroutine. It implements sink.Sink.
type Sink struct {
	out   io.Writer
	whole bool          // out is a file: it takes any length at once
	close func() error  // the writer, once
	bell  chan struct{} // lines wait, or the sink is closed
	stop  chan struct{} // closed when what is left is given up
	done  chan struct{} // closed when the goroutine has ended
	gone  chan struct{} // closed when the reader is gone

	mu      sync.Mutex
	room    chan struct{} // closed, and another one put there, when the queue got shorter
	queue   lines
	writing lines // what the goroutine writes
	written int   // bytes of it that the writer has taken
	settled int   // parts of it
	closed  bool  // nothing more is taken
	ended   bool  // what was not written is dropped
	failure error // of the last write; nil: it was taken
	since   time.Time
	stalled time.Time // since when the writer has taken nothing of what it was given; zero: it has all
	full    bool      // an append found no room since the queue got shorter

	stats sink.Stats // without Dropped
	drops map[string]int64
}

var _ sink.Sink = (*Sink)(nil)

// New returns a sink that writes to w, and closes it at Close when it is an io.Closer. Where w has SetWriteDeadline,
// as files have, Close ends a write that does not return.
func New(w io.Writer) *Sink {
	s := &Sink{
		out: w, bell: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
		room: make(chan struct{}), drops: map[string]int64{}, close: func() error { return nil },
	}
	if f, ok := w.(interface{ Stat() (fs.FileInfo, error) }); ok {
		info, err := f.Stat()
		s.whole = err == nil && info.Mode().IsRegular()
	}
	if c, ok := w.(io.Closer); ok {
		s.close = sync.OnceValue(c.Close)
	}
	go s.write()
	return s
}

// Gone is closed when the reader of the output is gone and nothing more can be written.
func (s *Sink) Gone() <-chan struct{} { return s.gone }

// Append implements sink.Sink.
func (s *Sink) Append(ctx context.Context, recs []sink.Record, ack sink.Ack) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range recs {
		v := recs[i].Value
		if err := s.awaitRoomLocked(ctx, len(v)+1); err != nil {
			return i, err
		}
		s.queue.text = appendLine(s.queue.text, v)
		s.takenLocked(ack, false)
	}
	return len(recs), nil
}

// appendLine puts v on one line. A raw line break inside a string (lenient mode) becomes a blank too:
// it is no JSON either way.
func appendLine(dst, v []byte) []byte {
	for _, c := range v {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		dst = append(dst, c)
	}
	return append(dst, '\n')
}

// DeadLetter implements sink.Sink.
func (s *Sink) DeadLetter(ctx context.Context, d *sink.DeadLetter, ack sink.Ack) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.awaitRoomLocked(ctx, base64.StdEncoding.EncodedLen(len(d.Raw))+200); err != nil {
		return err
	}
	q := &s.queue
	q.text = fmt.Appendf(q.text, `{"deadLetter":{"reason":%q,"offset":%d,"errorOffset":%d,"bodyId":%d,"raw":"`,
		d.Reason, d.Offset, d.ErrorOffset, d.BodyID)
	q.text = base64.StdEncoding.AppendEncode(q.text, d.Raw)
	q.text = append(q.text, "\"}}\n"...)
	s.takenLocked(ack, true)
	return nil
}

// awaitRoomLocked waits until n bytes fit into the queue. The lock is given up meanwhile.
func (s *Sink) awaitRoomLocked(ctx context.Context, n int) error {
	for !s.closed {
		if q := len(s.queue.text); q == 0 || q+n <= queueBytes {
			return nil
		}
		s.full = true
		room := s.room
		s.mu.Unlock()
		var err error
		select {
		case <-room:
		case <-ctx.Done():
			err = ctx.Err()
		}
		s.mu.Lock()
		if err != nil && !s.closed {
			return err
		}
	}
	return sink.ErrClosed
}

// takenLocked counts the line at the end of the queue. Without a reader it is dropped at once.
func (s *Sink) takenLocked(ack sink.Ack, bad bool) {
	s.stats.Admitted++
	s.stats.InFlight++
	q := &s.queue
	if n := len(q.parts); n > 0 && q.parts[n-1].ack == ack && q.parts[n-1].bad == bad {
		q.parts[n-1].end = len(q.text)
		q.parts[n-1].events++
	} else {
		if ack != nil {
			ack.Hold()
		}
		q.parts = append(q.parts, part{len(q.text), 1, bad, ack})
	}
	s.ring()
}

func (s *Sink) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Flush implements sink.Sink. Nothing lingers.
func (s *Sink) Flush() {}

// write is the goroutine that writes, until the sink is closed and its lines are written or given up.
func (s *Sink) write() {
	defer close(s.done)
	for range s.bell {
		for s.next() {
			s.writeLines()
		}
		s.mu.Lock()
		over := s.closed && len(s.queue.text) == 0
		s.mu.Unlock()
		if over {
			return
		}
	}
}

// next takes what waits.
func (s *Sink) next() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || len(s.queue.text) == 0 {
		s.stalled = time.Time{}
		return false
	}
	s.queue, s.writing = s.writing, s.queue
	s.queue.clear()
	s.written, s.settled = 0, 0
	s.stalled, s.full = time.Now(), false
	s.madeRoomLocked()
	return true
}

func (l *lines) clear() {
	clear(l.parts)
	l.parts = l.parts[:0]
	if l.text = l.text[:0]; cap(l.text) > 2*queueBytes { // one huge line
		l.text = nil
	}
}

func (s *Sink) madeRoomLocked() {
	close(s.room)
	s.room = make(chan struct{})
}

// writeLines writes what next has taken.
func (s *Sink) writeLines() {
	text := s.writing.text
	for pause := retryMin; len(text) > 0; {
		piece := s.piece(text)
		n, err := s.out.Write(piece)
		n = min(max(n, 0), len(piece))
		text = text[n:]
		if err == nil && n == 0 {
			err = io.ErrShortWrite
		}
		if s.wrote(n, err) {
			return
		}
		if err == nil || n > 0 {
			pause = retryMin
		}
		if err != nil {
			select {
			case <-time.After(pause):
				pause = min(2*pause, retryMax)
			case <-s.stop:
			}
		}
	}
}

// piece is the beginning of text that is written next: complete lines, where a pipe may take them as a whole.
func (s *Sink) piece(text []byte) []byte {
	if s.whole || len(text) <= pipeBuf {
		return text
	}
	if end := bytes.LastIndexByte(text[:pipeBuf], '\n'); end >= 0 {
		return text[:end+1]
	}
	return text[:pipeBuf]
}

// wrote settles what the writer has taken. It returns true when it will not take anything more.
func (s *Sink) wrote(n int, err error) (over bool) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return true
	}
	s.written += n
	if err != nil && s.failure == nil {
		s.since = time.Now()
	}
	s.failure = err
	if n > 0 {
		s.stalled = time.Now()
	}
	settled := s.settleLocked(DroppedGone, isGone(err))
	if isGone(err) {
		over = true
		s.closed = true // appends end with ErrClosed
		s.madeRoomLocked()
		close(s.gone)
	}
	s.mu.Unlock()
	settled.tell()
	return over
}

// isGone reports whether a write error is final: the reader has gone for good.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed)
}

// outcomes are acks that are to be told, without the lock.
type outcomes []struct {
	ack  sink.Ack
	lost int
}

func (o outcomes) tell() {
	for _, x := range o {
		if x.ack != nil {
			x.ack.Settle(x.lost)
		}
	}
}

// settleLocked counts the parts whose lines are written. With all it drops the rest for reason, and what
// waits: a line that was written in part is dropped.
func (s *Sink) settleLocked(reason string, all bool) (o outcomes) {
	w := &s.writing
	for ; s.settled < len(w.parts); s.settled++ {
		p := w.parts[s.settled]
		done := p.events
		if p.end > s.written {
			if !all {
				break
			}
			begin := 0
			if s.settled > 0 {
				begin = w.parts[s.settled-1].end
			}
			done = bytes.Count(w.text[min(begin, s.written):s.written], []byte{'\n'})
		}
		o = append(o, s.countLocked(p, done, reason)...)
	}
	if all {
		s.ended = true
		for _, p := range s.queue.parts {
			o = append(o, s.countLocked(p, 0, reason)...)
		}
		s.queue.clear()
	}
	return o
}

func (s *Sink) countLocked(p part, done int, reason string) outcomes {
	s.stats.InFlight -= int64(p.events)
	if p.bad {
		s.stats.DeadLettered += int64(done)
	} else {
		s.stats.Delivered += int64(done)
	}
	if lost := p.events - done; lost > 0 {
		s.drops[reason] += int64(lost)
	}
	return outcomes{{p.ack, p.events - done}}
}
