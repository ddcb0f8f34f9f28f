package proc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The builds of this test process, each made at most once.
var (
	plainBuild = sync.OnceValues(func() (string, error) { return build() })
	raceBuild  = sync.OnceValues(func() (string, error) { return build("-race") })
)

// Build builds ./cmd/ingest as users get it (CGO_ENABLED=0), once per test process, and returns the path.
func Build(t testing.TB) string {
	t.Helper()
	return must(t, plainBuild)
}

// BuildRace is Build with the race detector, which reports into [Process.Stderr].
func BuildRace(t testing.TB) string {
	t.Helper()
	return must(t, raceBuild)
}

func must(t testing.TB, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

const buildPrefix = "ingest-build-"

// build puts the binary into a folder named after this process. Nothing runs at the end of a test
// process, so the folders of earlier processes are removed here.
func build(flags ...string) (string, error) {
	removeStale()
	dir, err := os.MkdirTemp("", buildPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ingest")
	if err := BuildTo(path, flags...); err != nil {
		return "", err
	}
	return path, nil
}

// BuildTo builds ./cmd/ingest into the file path, with further flags of go build.
func BuildTo(path string, flags ...string) error {
	cgo := "0"
	args := []string{"build", "-trimpath", "-o", path}
	for _, f := range flags {
		if f == "-race" {
			cgo = "1" // the race detector needs it
		}
	}
	args = append(append(args, flags...), "functiongraph-ingest/cmd/ingest")
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func removeStale() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), buildPrefix+"*"))
	for _, dir := range old {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), buildPrefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || syscall.Kill(n, 0) == nil {
			continue // not ours to judge, or its process lives
		}
		_ = os.RemoveAll(dir)
	}
}
