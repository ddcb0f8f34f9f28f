package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

const tempSuffix = ".tmp"

// loadQuarantine notes what is there: it counts in the bound, and is not copied a second time.
func (s *Spool) loadQuarantine() error {
	list, err := s.fs.List(s.path(quarantineName))
	if err != nil {
		return err
	}
	s.known = map[string]int64{}
	for _, f := range list {
		if f.Special == "" && strings.HasSuffix(f.Name, tempSuffix) {
			_ = s.fs.Remove(s.path(quarantineName, f.Name)) // half a copy
			continue
		}
		s.known[f.Name] = f.Size // also what is no file: its name is taken
		if f.Special == "" {
			s.stats.quarantineBytes += f.Disk
		}
	}
	return nil
}

// quarantineRegion copies damaged bytes aside and counts them. If they cannot be copied the whole
// segment goes to quarantine when its other frames are done: nothing is deleted unread.
func (s *Spool) quarantineRegion(g *segment, off, length int64, events int32, reason error) {
	name := fmt.Sprintf("%s-%08x-%d.bad", strings.TrimSuffix(g.name, segmentSuffix), off, length)
	s.mu.Lock()
	size, known := s.known[name]
	s.mu.Unlock()
	if known && size == length {
		return // by an earlier Open
	}
	err := s.copyAside(g.file, off, length, name)
	s.mu.Lock()
	s.stats.quarantined++
	if s.opening {
		s.stats.quarantinedEvents += int64(max(events, 0))
	}
	if err == nil {
		s.known[name] = length
		s.stats.quarantineBytes += length
	} else {
		g.keep = true
	}
	s.mu.Unlock()
	if err != nil {
		s.log.Error("damaged bytes in the spool; the segment is kept", "segment", g.name, "offset", off,
			"bytes", length, "events", events, "reason", reason, "error", err)
		return
	}
	s.log.Error("damaged bytes in the spool are put into quarantine", "segment", g.name, "offset", off,
		"bytes", length, "events", events, "reason", reason, "file", filepath.Join(quarantineName, name))
}

// mostCopied is the longest region that is copied: the whole segment is kept for a longer one, which takes no more
// room than it has already.
const mostCopied = 64 << 20

var errTooMuch = errors.New("too long to be copied")

// copyAside copies a region to a file in quarantine, which is there whole or not at all.
func (s *Spool) copyAside(from File, off, length int64, name string) error {
	if length > mostCopied {
		return errTooMuch
	}
	buf := make([]byte, min(length, scanWindow))
	return s.writeWhole(quarantineName, name, func(to File) error {
		for at := int64(0); at < length; {
			p := buf[:min(int64(len(buf)), length-at)]
			if _, err := from.ReadAt(p, off+at); err != nil {
				return err
			}
			if err := to.WriteVec([][]byte{p}, at); err != nil {
				return err
			}
			at += int64(len(p))
		}
		return nil
	})
}

// writeWhole makes a file in a folder of the spool, durable, under its name only when it is complete.
func (s *Spool) writeWhole(folder, name string, fill func(File) error) error {
	dir := s.path(folder)
	if err := s.fs.MkdirAll(dir); err != nil {
		return err
	}
	temp := filepath.Join(dir, name+tempSuffix)
	_ = s.fs.Remove(temp) // from a try that failed
	file, err := s.fs.Create(temp)
	if err != nil {
		return err
	}
	err = fill(file)
	if err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = s.fs.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		_ = s.fs.Remove(temp)
		return err
	}
	if err = s.fs.SyncDir(dir); err == nil {
		err = s.fs.SyncDir(s.cfg.Dir) // the folder may be new
	}
	return err
}

// quarantineFile moves a whole file aside.
func (s *Spool) quarantineFile(name string, size int64) {
	to := name
	s.mu.Lock()
	for i := 1; ; i++ {
		if _, taken := s.known[to]; !taken {
			break
		}
		to = fmt.Sprintf("%s.%d", name, i)
	}
	s.mu.Unlock()
	err := s.fs.MkdirAll(s.path(quarantineName))
	if err == nil {
		err = s.fs.Rename(s.path(name), s.path(quarantineName, to))
	}
	if err != nil {
		s.log.Error("a spool file cannot be moved to quarantine and stays where it is", "file", name, "error", err)
		return
	}
	s.mu.Lock()
	s.known[to] = size
	s.stats.quarantineBytes += size
	s.stats.quarantined++
	s.mu.Unlock()
}

// discard puts a frame that cannot be read back into quarantine and takes it out of its queue.
func (q *Queue) discard(g *segment, e entry, reason error, told bool) {
	s := q.s
	s.quarantineRegion(g, e.pos.Offset(), int64(e.size), e.events, reason)
	s.mu.Lock()
	var done []*segment
	q.index.each(func(x *entry) bool {
		if x.pos == e.pos && x.size > 0 {
			done = q.forgetLocked(nil, x)
			s.stats.lostFrames++
			s.stats.lostEvents += int64(e.events)
			if told {
				s.stats.toldEvents += int64(e.events)
			}
		}
		return x.pos < e.pos
	})
	s.unref(g)
	s.mu.Unlock()
	for _, d := range done {
		s.removeSegment(d)
	}
}
