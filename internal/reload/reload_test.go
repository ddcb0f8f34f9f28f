package reload

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fixture is two files and what was loaded of them.
type fixture struct {
	t      *testing.T
	a, b   string
	log    bytes.Buffer
	loaded []string
	bad    string // content of a that Load refuses
	during func() // what happens while Load reads
	clock  time.Time
	*Files
}

func newFixture(t *testing.T) *fixture {
	dir := t.TempDir()
	f := &fixture{t: t, a: filepath.Join(dir, "a"), b: filepath.Join(dir, "b"), clock: time.Now().Add(time.Hour), bad: "bad"}
	f.write(f.a, "1")
	f.write(f.b, "1")
	files, err := New(slog.New(slog.NewTextHandler(&f.log, nil)), Source{Name: "--a,--b", Files: []string{f.a, f.b}, Load: f.load})
	if err != nil {
		t.Fatal(err)
	}
	f.Files = files
	f.Files.now = func() time.Time { return f.clock }
	f.Look() // the files are an hour old by now: settled
	return f
}

func (f *fixture) load() error {
	a, err := os.ReadFile(f.a)
	b, errB := os.ReadFile(f.b)
	if during := f.during; during != nil {
		f.during = nil
		during()
	}
	if err = errors.Join(err, errB); err != nil {
		return err
	}
	if string(a) == f.bad {
		return errors.New("a is bad")
	}
	f.loaded = append(f.loaded, string(a)+string(b))
	return nil
}

func (f *fixture) write(path, text string) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) expect(loaded string, warnings, infos int) {
	f.t.Helper()
	if got := strings.Join(f.loaded, " "); got != loaded {
		f.t.Errorf("loaded %q, want %q", got, loaded)
	}
	if w, i := strings.Count(f.log.String(), "level=WARN"), strings.Count(f.log.String(), "level=INFO"); w != warnings || i != infos {
		f.t.Errorf("%d warnings and %d other lines, want %d and %d:\n%s", w, i, warnings, infos, &f.log)
	}
}

func TestLook(t *testing.T) {
	f := newFixture(t)
	f.Look()
	f.expect("11", 0, 0)
	f.write(f.a, "22")
	f.Look()
	f.Look()
	f.expect("11 221", 0, 1)
}

// The content is the same after all: nothing to tell.
func TestTouched(t *testing.T) {
	f := newFixture(t)
	if err := os.Chtimes(f.a, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	f.write(f.b, "1")
	f.Look()
	f.expect("11", 0, 0)
}

// A file of the same size that changes within a tick of the file system's clock has the same stat.
func TestChangedWithinATick(t *testing.T) {
	f := newFixture(t)
	info, err := os.Stat(f.a)
	if err != nil {
		t.Fatal(err)
	}
	f.clock = info.ModTime().Add(time.Second)
	f.Look()
	f.write(f.a, "2")
	if err := os.Chtimes(f.a, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	f.Look()
	f.expect("11 21", 0, 1)
}

// A broken file leaves the old one in use and is told once, whatever kind of broken it is.
func TestBrokenFileIsToldOnce(t *testing.T) {
	f := newFixture(t)
	for i, breakIt := range []func(){
		func() { f.write(f.a, "bad") },
		func() { _ = os.Remove(f.a) },
	} {
		breakIt()
		f.Look()
		f.Look()
		f.expect("11", i+1, 0)
	}
	if !strings.Contains(f.log.String(), "--a,--b") || !strings.Contains(f.log.String(), "a is bad") {
		t.Errorf("no setting or no reason: %s", &f.log)
	}
	f.write(f.a, "1") // as it was
	f.Look()
	f.expect("11 11", 2, 1)
}

// Kubernetes: files are links into a folder that is a link itself, and that one is swapped.
func TestSwappedSymlink(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	for _, version := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		f.write(filepath.Join(dir, version, "secret"), version)
	}
	link := func(target, name string) {
		tmp := name + ".tmp"
		if err := os.Symlink(target, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, name); err != nil {
			t.Fatal(err)
		}
	}
	link("v1", filepath.Join(dir, "data"))
	link(filepath.Join(dir, "data", "secret"), f.a)
	f.Look()
	f.expect("11 v11", 0, 1)
	link("v2", filepath.Join(dir, "data"))
	f.Look()
	f.expect("11 v11 v21", 0, 2)
}

// Certificate and key are two files: what is read between the two writes fits together a moment later.
func TestChangedWhileItIsRead(t *testing.T) {
	f := newFixture(t)
	f.write(f.a, "bad")
	f.during = func() { f.write(f.a, "22") }
	f.Look()
	f.expect("11 221", 0, 1)
}

// What changes after it was read, and before anyone looks, is seen.
func TestChangedAfterTheFirstRead(t *testing.T) {
	dir := t.TempDir()
	f := &fixture{t: t, a: filepath.Join(dir, "a"), b: filepath.Join(dir, "b"), bad: "bad"}
	f.write(f.a, "1")
	f.write(f.b, "1")
	f.during = func() { f.write(f.a, "2") }
	files, err := New(slog.New(slog.NewTextHandler(&f.log, nil)), Source{Name: "x", Files: []string{f.a, f.b}, Load: f.load})
	if err != nil {
		t.Fatal(err)
	}
	files.Look()
	f.expect("11 21", 0, 1)
}

func TestAgain(t *testing.T) {
	f := newFixture(t)
	if changed, failed := f.Again(); changed != nil || failed != nil {
		t.Errorf("%v, %v", changed, failed)
	}
	f.write(f.a, "22")
	if changed, failed := f.Again(); len(changed) != 1 || failed != nil {
		t.Errorf("%v, %v", changed, failed)
	}
	f.write(f.a, "bad")
	if changed, failed := f.Again(); changed != nil || len(failed) != 1 {
		t.Errorf("%v, %v", changed, failed)
	}
	if changed, failed := f.Again(); changed != nil || len(failed) != 1 {
		t.Errorf("it is broken still: %v, %v", changed, failed)
	}
}

func TestFirstLoadFails(t *testing.T) {
	if _, err := New(slog.Default(), Source{Load: func() error { return os.ErrNotExist }}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	var none *Files
	none.Look()
	none.Again()
}
