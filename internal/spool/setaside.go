package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

const asideSuffix = ".json"

// aside is the folder of events that no topic takes.
type aside struct {
	mu    slot // one file at a time
	sizes map[string]int64
	files atomic.Int64
	bytes atomic.Int64
}

func (s *Spool) loadAside() error {
	list, err := s.fs.List(s.path(asideName))
	if err != nil {
		return err
	}
	a := &s.aside
	a.sizes = map[string]int64{}
	for _, f := range plain(list) {
		if strings.HasSuffix(f.Name, tempSuffix) {
			_ = s.fs.Remove(s.path(asideName, f.Name))
			continue
		}
		a.sizes[f.Name] = f.Size
		a.files.Add(1)
		a.bytes.Add(f.Size)
	}
	return nil
}

// roomAside reports why n bytes cannot be set aside.
func (s *Spool) roomAside(n int64) error {
	s.mu.Lock()
	closed, used := s.closed, s.used+s.stats.quarantineBytes
	s.mu.Unlock()
	switch have := s.aside.bytes.Load(); {
	case closed:
		return ErrClosed
	case have+n > s.cfg.SetAsideBytes || used+have+n > s.cfg.MaxBytes:
		return fmt.Errorf("%w: %d bytes to set aside, %d of %d in use there, %d of %d in all (--spool-max)",
			ErrFull, n, have, s.cfg.SetAsideBytes, used+have, s.cfg.MaxBytes)
	}
	if s.dir != nil {
		if err := s.dir.removed(); err != nil {
			return fmt.Errorf("%w: %w", ErrWrite, err)
		}
	}
	free, err := s.fs.Free(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	if free-n < s.cfg.KeepFree {
		return fmt.Errorf("%w: %d bytes free on the file system, %d of them are left to others (--spool-keep-free)", ErrFull, free, s.cfg.KeepFree)
	}
	return nil
}

// SetAside keeps raw whole in setaside/<sha256>.json, durable when it returns. It is idempotent: what is
// there already is no error and takes no more room. ErrFull beyond SetAsideBytes or MaxBytes. raw is not
// retained.
func (s *Spool) SetAside(raw []byte, sha256 [32]byte) error {
	a := &s.aside
	a.mu.Lock()
	defer a.mu.Unlock()
	name, n := hex.EncodeToString(sha256[:])+asideSuffix, int64(len(raw))
	if size, ok := a.sizes[name]; ok && size == n {
		if f, err := s.fs.Open(s.path(asideName, name), true); err == nil { // else an operator took it away since
			return f.Close()
		}
	}
	err := s.roomAside(n)
	for errors.Is(err, ErrFull) && (s.removeEnded() || s.dropSpare(s.takeSpare())) {
		err = s.roomAside(n)
	}
	if err != nil {
		return err
	}
	err = s.writeWhole(asideName, name, func(to File) error { return to.WriteVec([][]byte{raw}, 0) })
	if err != nil {
		return fmt.Errorf("%w: %w", ErrWrite, err)
	}
	if old, ok := a.sizes[name]; ok {
		a.bytes.Add(-old)
	} else {
		a.files.Add(1)
	}
	a.sizes[name] = n
	a.bytes.Add(n)
	return nil
}
