package spool_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/spool"
	"functiongraph-ingest/internal/spool/spooltest"
)

// TestReadsWhatEarlierCommitsWrote: testdata has directories that the programs of earlier commits left behind, killed or
// ended in order: 40 events of seven keys in two partitions, a frame each, of which Kafka had ten; then it went away with
// a batch of each partition in doubt. testdata/README.md says how they were made.
func TestReadsWhatEarlierCommitsWrote(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*-*")
	if err != nil || len(dirs) < 6 {
		t.Fatal(dirs, err)
	}
	for _, from := range dirs {
		t.Run(filepath.Base(from), func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.CopyFS(dir, os.DirFS(from)))
			head, err := os.ReadFile(filepath.Join(from, "cursors"))
			must(t, err)
			boot := string(head[24 : 24+head[20]]) // as if the machine had been up since
			closed := strings.HasSuffix(from, "closed")
			s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{Boot: boot})
			must(t, err)
			defer s.Close()
			st := s.Stats()
			if st.RecoveredFrames != 30 || st.RecoveredEvents != 30 || st.Quarantined != 0 || st.LostCursors != 0 || st.UncleanStart == closed {
				t.Errorf("%+v", st)
			}
			for partition, want := range map[int32]int{0: 14, 1: 16} {
				q := spooltest.Queue(s, "t", partition)
				pos, stamp, ok := q.Doubt()
				if head, _, _, _ := q.Head(); !ok || pos != head || stamp.ProducerID < 0 || stamp.FirstSent == 0 {
					t.Errorf("partition %d: in doubt %v, %v, %+v", partition, pos, ok, stamp)
				}
				n, after, last := 0, spool.Pos(0), int64(0)
				for {
					f, at, err := q.PeekAfter(after, nil)
					if err == io.EOF {
						break
					}
					must(t, err)
					if f.Events != 1 || f.FirstTimestamp < last || len(f.Batch) < 60 {
						t.Errorf("frame %v: %+v", at, f.Meta)
					}
					n, after, last = n+1, at, f.FirstTimestamp
				}
				if n != want {
					t.Errorf("partition %d: %d frames, want %d", partition, n, want)
				}
				must(t, q.Done(after))
			}
			if st := s.Stats(); st.Frames != 0 || st.Events != 0 {
				t.Errorf("at the end: %+v", st)
			}
		})
	}
}
