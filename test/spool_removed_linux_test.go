package test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/test/proc"
)

// The spool's folder, or what is in it, is removed while Kafka is away. No event is answered 200 from a file that the next
// process does not find, and what was answered before is in the ledger as lost.
func TestSpoolRemovedInUse(t *testing.T) {
	for name, remove := range map[string]func(dir string) error{
		"folder": os.RemoveAll,
		"moved": func(dir string) error {
			if err := os.Rename(dir, dir+".old"); err != nil {
				return err
			}
			return os.Mkdir(dir, 0o700)
		},
		"segments": func(dir string) error {
			names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			for _, name := range names {
				err = os.Remove(name)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			serve := func() *proc.Process {
				p := proc.StartUnready(t, proc.Serve(proc.Build(t), "127.0.0.1:1", "none", "--ack=disk", "--spool-dir", dir, "--ack-timeout=1s", "--shutdown-timeout=1s"))
				awaitSeen(t, "a place to post to", func() bool { c, _, err := p.Get("/healthz"); return err == nil && c == 200 })
				return p
			}
			p := serve()
			acked := int64(0)
			send := func() (code int) {
				if code, _ = post(t, p, "application/json", []byte(`[{"a":1},{"a":2}]`)); code == http.StatusOK {
					acked += 2
				}
				return code
			}
			for range 5 {
				if code := send(); code != http.StatusOK {
					t.Fatalf("answered %d: %s", code, p.Stderr())
				}
			}
			must(t, remove(dir))
			was := acked
			for range 2 {
				send()
			}
			if name != "segments" && acked != was {
				t.Errorf("%d events are answered 200 after the folder was removed", acked-was)
			}
			must(t, p.Terminate())
			code, err := p.Wait(t.Context())
			must(t, err)
			end, err := p.LastLedger()
			must(t, err)
			if code != 3 || end.Dropped["damaged"] < was || !strings.Contains(p.Stderr(), "removed or replaced while in use") {
				t.Errorf("exit %d, %+v, %s", code, end, p.Stderr())
			}
			found := serve().MustLedger(t).Recovered
			if end.Spooled != found || end.Dropped["damaged"]+found < acked {
				t.Errorf("%d events were answered 200; the ledger has %d on disk, the next process finds %d; dropped %v", acked, end.Spooled, found, end.Dropped)
			}
		})
	}
}
