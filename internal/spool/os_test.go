package spool_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestMain is also the process that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_TEST_CHILD"); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child writes frames for ever and says so after each; it never syncs.
func child(dir string) {
	s, err := spool.Open(spool.Config{Dir: dir, SegmentBytes: 32 << 10, MaxBytes: 64 << 20}, spool.Deps{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	q := spooltest.Queue(s, "t", 0)
	for id := uint64(1); ; id++ {
		pos, err := q.Append(spool.Meta{Records: int32(id)}, batchOf(id))
		if err == nil && id%3 == 0 {
			f, at, peekErr := q.Peek(nil)
			if err = peekErr; err == nil {
				err = q.Sending(at, stampOf(at))
			}
			if err == nil && f.Records%2 == 1 {
				err = q.Done(at)
			}
		}
		if err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println(id, uint64(pos))
	}
}

// TestKill: a process is killed with SIGKILL while it writes, on a real file system. The next one finds
// every frame that was announced, the lock free, and the batch in doubt.
func TestKill(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no flock")
	}
	onDisks(t, func(t *testing.T, dir string) {
		dir = filepath.Join(dir, "made", "by", "open")
		for round := range 5 {
			killChild(t, dir, 100+round*37)
			if t.Failed() {
				return
			}
		}
	})
}

// onDisks runs a test where the tests' files are, and in a file system in memory, which has system calls of its own.
func onDisks(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("disk", func(t *testing.T) { test(t, t.TempDir()) })
	if runtime.GOOS != "linux" {
		return
	}
	t.Run("memory", func(t *testing.T) {
		dir, err := os.MkdirTemp("/dev/shm", "ingest-spool-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		test(t, dir)
	})
}

func killChild(t *testing.T, dir string, frames int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	announced, last := 0, uint64(0)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var pos uint64
		if _, err := fmt.Sscan(lines.Text(), new(uint64), &pos); err != nil {
			t.Errorf("child: %s", lines.Text())
			break
		}
		if announced++; announced == 10 {
			if _, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{}); !errors.Is(err, spool.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) {
				t.Errorf("the second process got in: %v", err)
			}
		}
		if announced == frames {
			_ = cmd.Process.Kill() // and read what it still said
		}
		last = pos
	}
	_ = cmd.Wait()
	s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := spooltest.Queue(s, "t", 0)
	var newest spool.Pos
	doubt, stamp, ok := q.Doubt()
	if !ok || stamp != stampOf(doubt) {
		t.Errorf("doubt %v %+v", doubt, stamp)
	}
	if _, oldest, err := q.Peek(nil); err != nil || oldest != doubt {
		t.Errorf("the oldest is %v, in doubt is %v, %v", oldest, doubt, err)
	}
	for {
		f, pos, err := q.PeekAfter(newest, nil)
		if err != nil {
			break
		}
		if string(f.Batch) != string(batchOf(uint64(f.Records))) {
			t.Errorf("frame %v is wrong", pos)
		}
		newest = pos
	}
	if uint64(newest) < last {
		t.Errorf("frame %v was written and is lost; the newest is %v", spool.Pos(last), newest)
	}
	if st := s.Stats(); !st.UncleanStart || st.Quarantined != 0 || st.LostCursors != 0 || int(st.RecoveredFrames) < frames/2 {
		t.Errorf("%+v", st)
	}
	if err := q.Done(newest); err != nil {
		t.Error(err)
	}
}

// TestTwoOpens: one at a time; the next one when it is closed.
func TestTwoOpens(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no flock")
	}
	cfg := spool.Config{Dir: t.TempDir()}
	s, err := spool.Open(cfg, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(cfg, spool.Deps{}); !errors.Is(err, spool.ErrBusy) {
		t.Errorf("err = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = spool.Open(cfg, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Stats().UncleanStart {
		t.Error("unclean start")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestRealFiles: reclaim, vectors longer than one system call takes, and what is left after everything
// is done.
func TestRealFiles(t *testing.T) { onDisks(t, realFiles) }

func realFiles(t *testing.T, dir string) {
	s, err := spool.Open(spool.Config{Dir: dir, MaxBytes: 4 << 20, SegmentBytes: 512 << 10}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := spooltest.Queue(s, "t", 0), spooltest.Queue(s, "t", 1)
	parts := make([][]byte, 21)
	for i := range parts {
		parts[i] = []byte(strings.Repeat(string(rune('a'+i)), 1000*i))
	}
	kept, err := a.Append(spool.Meta{}, parts...)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		pos, err := b.Append(spool.Meta{}, parts...)
		if err == nil {
			err = b.Done(pos)
		}
		if err != nil {
			t.Fatal(err, s.Stats())
		}
	}
	f, pos, err := a.Peek(nil)
	if err != nil || pos != kept || string(f.Batch) != strings.Join(stringsOf(parts), "") {
		t.Fatalf("%v, %v", pos, err)
	}
	if err := a.Done(pos); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.seg")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func stringsOf(parts [][]byte) (out []string) {
	for _, p := range parts {
		out = append(out, string(p))
	}
	return out
}

// TestAllocations: none in the steady state.
func TestAllocations(t *testing.T) {
	s, err := spool.Open(spool.Config{Dir: t.TempDir()}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	q := spooltest.Queue(s, "topic", 3)
	parts := make([][]byte, 6) // more cost one for the vector
	for i := range parts {
		parts[i] = make([]byte, 512)
	}
	buf := make([]byte, 8192)
	round := func() {
		pos, err := q.Append(spool.Meta{Events: 7}, parts...)
		if err != nil {
			t.Fatal(err)
		}
		f, _, err := q.Peek(buf[:0])
		if err != nil {
			t.Fatal(err)
		}
		buf = f.Batch
		if err := errors.Join(q.Sending(pos, spool.Stamp{}), q.Done(pos)); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if n := testing.AllocsPerRun(500, round); n != 0 {
		t.Errorf("%v allocations per Append, Peek, Sending and Done", n)
	}
}
