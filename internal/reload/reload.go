// Package reload reads files again that a running process uses: certificates, keys, passwords.
//
// There is no timer. [Files.Look] is called where a file is about to be used, for a new connection for example, and
// costs a stat of each file; [Files.Again] is called for SIGHUP. A file that cannot be used leaves what was read
// before in use, with one line in the log until it changes again.
package reload

import (
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Source is a few files that belong together.
type Source struct {
	Name  string   // the settings that name them, for the log
	Files []string // symbolic links are followed: Kubernetes swaps one to renew a secret
	// Load takes what is in the files into use, or returns why not and leaves in use what was there. It is never
	// called twice at the same time.
	Load func() error
}

// Files watches sources. All methods are safe for concurrent use; those of a nil Files do nothing.
type Files struct {
	log     *slog.Logger
	now     func() time.Time
	mu      sync.Mutex
	sources []*source
}

type source struct {
	Source
	stamps []stamp
	sum    [sha256.Size]byte // of what was tried last
	// settled reports whether the files were older than the file system's clock is coarse when they were read. Until
	// then one may have changed without a sign of it.
	settled bool
}

// stamp is what stat says about a file. A change of the content changes it, except within the clock's tick.
type stamp struct {
	info  os.FileInfo // nil: it is not there
	mtime time.Time
	size  int64
}

const (
	coarse  = 2 * time.Second // the tick of the coarsest file system in use, FAT
	maxFile = 8 << 20         // of a file that is compared; more is no secret and no certificate
)

// New loads every source once. The error is the first one of a Load.
func New(log *slog.Logger, sources ...Source) (*Files, error) {
	f := &Files{log: log, now: time.Now}
	for _, s := range sources {
		if err := f.add(s); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *Files) add(s Source) error {
	entry := &source{Source: s}
	entry.stat(f.now()) // before the files are read: a later change is seen
	entry.sum = entry.digest()
	if err := s.Load(); err != nil {
		return err
	}
	f.sources = append(f.sources, entry)
	return nil
}

// Look loads the sources whose files have changed.
func (f *Files) Look() {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		if s.stat(f.now()) && s.changed() {
			_ = f.load(s, true)
		}
	}
}

// Again loads all sources, whether or not they seem to have changed. It returns the names of those that have, and
// of those that cannot be used.
func (f *Files) Again() (changed, failed []string) {
	if f == nil {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		s.stat(f.now())
		different := s.changed()
		switch err := f.load(s, different); {
		case err != nil:
			failed = append(failed, s.Name)
		case different:
			changed = append(changed, s.Name)
		}
	}
	return changed, failed
}

// load loads one source and logs a failure; success only if there is something new.
func (f *Files) load(s *source, different bool) error {
	err := s.Load()
	if err != nil && s.stat(f.now()) && s.changed() {
		err = s.Load() // they changed meanwhile: certificate and key are two files
	}
	if err != nil {
		f.log.Warn("a file has changed and cannot be used; its old contents stay in use: correct it", "setting", s.Name, "error", err)
	} else if different {
		f.log.Info("a file has changed and was read again", "setting", s.Name)
	}
	return err
}

// stat reports whether the files may have changed since the last call.
func (s *source) stat(now time.Time) bool {
	next := make([]stamp, len(s.Files))
	settled := true
	for i, path := range s.Files {
		if info, err := os.Stat(path); err == nil {
			next[i] = stamp{info, info.ModTime(), info.Size()}
			settled = settled && now.Sub(info.ModTime()) > coarse
		}
	}
	same := s.settled && slices.EqualFunc(s.stamps, next, func(a, b stamp) bool {
		return (a.info == nil) == (b.info == nil) && a.mtime.Equal(b.mtime) && a.size == b.size && (a.info == nil || os.SameFile(a.info, b.info))
	})
	s.stamps, s.settled = next, settled
	return !same
}

// changed reports whether the content is another one than at the last call.
func (s *source) changed() bool {
	sum := s.digest()
	if sum == s.sum {
		return false
	}
	s.sum = sum
	return true
}

// digest is a hash over all files. What cannot be read has one too.
func (s *source) digest() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, path := range s.Files {
		one := sha256.New()
		if err := copyFile(one, path); err != nil {
			one.Reset()
			_, _ = io.WriteString(one, "unreadable")
		}
		h.Write(one.Sum(nil))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

var errKind = errors.New("not a regular file")

func copyFile(w io.Writer, path string) error {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, errKind) // a pipe would block
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, io.LimitReader(file, maxFile))
	return err
}
