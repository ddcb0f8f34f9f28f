package limit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTheQuotaHolds: what burns CPU gets about a twentieth of the time, which it gets on a machine under load too.
func TestTheQuotaHolds(t *testing.T) {
	g, err := New(fmt.Sprint("ingest-limit-test-", os.Getpid()), 0.05)
	if err != nil {
		// Not every machine gives the right; then the error must say what is missing.
		if !strings.Contains(err.Error(), "control group") || !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.EROFS) {
			t.Fatal(err)
		}
		t.Log("no quota here:", err)
		return
	}
	bin, args := g.Command("/bin/sh", "-c", "while :; do :; done")
	cmd := exec.Command(bin, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 30 {
		if <-time.After(time.Second); g.Throttled() > 0 {
			break
		}
	}
	took := time.Since(began)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(); used > took/5 {
		t.Errorf("used %v of %v", used, took)
	}
	if g.Throttled() == 0 {
		t.Error("was never held back")
	}
	for range 100 { // the kernel takes a moment to see the end
		if err = g.Close(); err == nil {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	if err != nil {
		t.Error(err)
	}
}
