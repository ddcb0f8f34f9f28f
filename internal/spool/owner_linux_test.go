package spool_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"functiongraph-ingest/internal/skiptest"
	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

const nobody = 65534

// asUser runs f on a thread with another effective user.
func asUser(t *testing.T, uid int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "only root can become another user")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			t.Error(errno)
			return
		}
		f()
	}()
	<-done
}

// tree is every entry of a directory, with mode, owner, target and contents.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += string(b)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			to, _ := os.Readlink(path)
			text += to
		}
		out[path] = text
		return nil
	}))
	return out
}

// TestDirectoryOfOthers: a directory, a file in it or a link on the way to it that belongs to somebody else is refused,
// and nothing is touched, neither there nor where a link points to.
func TestDirectoryOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "only root can give files away")
	}
	link := func(name, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o700))
			must(t, os.Symlink(filepath.Join(filepath.Dir(dir), to), filepath.Join(dir, name)))
			must(t, os.Lchown(filepath.Join(dir, name), nobody, nobody))
		}
	}
	forged := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir, 0o777))
			must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
			must(t, os.Chown(filepath.Join(dir, name), nobody, nobody))
		}
	}
	for name, make := range map[string]func(t *testing.T, dir string){
		"directory": func(t *testing.T, dir string) { must(t, os.Mkdir(dir, 0o777)); must(t, os.Chown(dir, nobody, nobody)) },
		"link to ours": func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"-ours", 0o700))
			must(t, os.Symlink(dir+"-ours", dir))
			must(t, os.Lchown(dir, nobody, nobody))
		},
		"dangling link": func(t *testing.T, dir string) {
			must(t, os.Symlink(dir+"-missing", dir))
			must(t, os.Lchown(dir, nobody, nobody))
		},
		"our link to theirs": func(t *testing.T, dir string) {
			must(t, os.Mkdir(dir+"-theirs", 0o777))
			must(t, os.Chown(dir+"-theirs", nobody, nobody))
			must(t, os.Symlink(dir+"-theirs", dir))
		},
		"lock is a link":       link("lock", "victim"),
		"cursors is a link":    link("cursors", "victim"),
		"quarantine is a link": link("quarantine", "."),
		"setaside is a link":   link("setaside", "."),
		"a segment is a link":  link("00000001-00000000000000aa.seg", "victim"),
		"forged segment":       forged("00000001-00000000000000aa.seg"),
		"forged cursors":       forged("cursors"),
		"forged lock":          forged("lock"),
		"forged spare file":    forged("00000001-00000000000000aa.seg.free"),
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			must(t, os.WriteFile(filepath.Join(parent, "victim"), []byte("precious"), 0o600))
			dir := filepath.Join(parent, "spool")
			make(t, dir)
			before := tree(t, parent)
			s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, spool.ErrForeign) || !strings.Contains(err.Error(), "65534") {
				t.Fatalf("err = %v", err)
			}
			for path, text := range tree(t, parent) {
				if before[path] != text {
					t.Errorf("%s was %q and is %q", path, before[path], text)
				}
				delete(before, path)
			}
			if len(before) != 0 {
				t.Errorf("gone: %v", before)
			}
		})
	}
}

// A directory that is open to others and holds what is no spool is not closed to them, and nothing is made in it: it may
// be /tmp. With a spool in it, empty, or closed already it is taken.
func TestADirectoryInOtherUseIsNotClosed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  os.FileMode
		files []string
		taken bool
	}{
		{"other files", 0o755, []string{"app.conf"}, false},
		{"a sticky directory of all", 0o777 | os.ModeSticky, []string{"x"}, false},
		{"open to the group", 0o710, []string{"x"}, false},
		{"a hidden file", 0o755, []string{".profile"}, false},
		{"a lock of another program", 0o755, []string{"lock", "run"}, false},
		{"a quarantine of a scanner", 0o755, []string{"quarantine", "scan.log"}, false},
		{"nothing", 0o755, nil, true},
		{"a new file system", 0o755, []string{"lost+found"}, true},
		{"a spool that was killed at its start", 0o755, []string{"lock"}, true},
		{"a spool beside others", 0o755, []string{"app.conf", "00000001-00000000000000aa.seg"}, true},
		{"closed already", 0o700, []string{"app.conf"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, "spool")
			must(t, os.Mkdir(dir, 0o700))
			for _, name := range tt.files {
				must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
			}
			must(t, os.Chmod(dir, tt.mode))
			before := tree(t, parent)
			if err := spool.Occupied(dir); (err == nil) != tt.taken {
				t.Errorf("Occupied: %v", err)
			}
			s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
			if err == nil {
				must(t, s.Close())
			}
			info, statErr := os.Stat(dir)
			must(t, statErr)
			if tt.taken {
				if err != nil || info.Mode().Perm() != 0o700 {
					t.Errorf("%v, mode %v", err, info.Mode())
				}
				return
			}
			if !errors.Is(err, spool.ErrOccupied) || info.Mode()&(0o777|os.ModeSticky) != tt.mode {
				t.Errorf("%v, mode %v", err, info.Mode())
			}
			if after := tree(t, parent); !maps.Equal(before, after) {
				t.Errorf("%v instead of %v", after, before)
			}
		})
	}
}

// TestOwnLinksInDirectory: a link of our own in the directory is not followed either.
func TestOwnLinksInDirectory(t *testing.T) {
	for _, name := range []string{"lock", "cursors", "00000001-00000000000000aa.seg"} {
		parent := t.TempDir()
		victim := filepath.Join(parent, "victim")
		must(t, os.WriteFile(victim, []byte("precious"), 0o600))
		dir := filepath.Join(parent, "spool")
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.Symlink(victim, filepath.Join(dir, name)))
		s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
		if err == nil {
			must(t, s.Close())
		} else if name != "lock" {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(victim); string(b) != "precious" {
			t.Errorf("%s was followed: %q", name, b)
		}
	}
}

// TestDirectoryModes: what we made is closed to others; a volume of root that we may write to is taken as it is; a
// link of root's on the way is followed.
func TestDirectoryModes(t *testing.T) {
	open := func(t *testing.T, dir string) {
		s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := spooltest.Queue(s, "t", 0).Append(spool.Meta{}, []byte("x")); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	mode := func(t *testing.T, dir string, want fs.FileMode) {
		t.Helper()
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, want %v (%v)", info.Mode(), want, err)
		}
	}
	t.Run("made", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		open(t, dir)
		mode(t, dir, 0o700)
		for name, text := range tree(t, dir) {
			if name != dir && !strings.HasPrefix(text, "-rw-------") {
				t.Errorf("%s: %.10s", name, text)
			}
		}
	})
	t.Run("ours", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Chmod(dir, 0o755))
		open(t, dir)
		mode(t, dir, 0o700)
	})
	t.Run("volume of root", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Chmod(filepath.Dir(dir), 0o755))
		must(t, os.Chmod(dir, 0o777))
		asUser(t, nobody, func() { open(t, dir); open(t, dir) })
		mode(t, dir, 0o777)
	})
	t.Run("link of root", func(t *testing.T) {
		parent := t.TempDir()
		must(t, os.Chmod(filepath.Dir(parent), 0o755))
		must(t, os.Chmod(parent, 0o755))
		must(t, os.Mkdir(filepath.Join(parent, "real"), 0o777))
		must(t, os.Chmod(filepath.Join(parent, "real"), 0o777))
		must(t, os.Symlink("real", filepath.Join(parent, "link")))
		asUser(t, nobody, func() { open(t, filepath.Join(parent, "link")); open(t, filepath.Join(parent, "link", "below")) })
	})
}
