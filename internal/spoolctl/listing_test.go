package spoolctl

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"functiongraph-ingest/internal/spool"
)

// edit changes a file of a spool directory.
func edit(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(p), 0o600); err != nil {
		t.Fatal(err)
	}
}

func segment(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names[0]
}

// setAside opens the spool, and keeps an event in it that no topic takes.
func setAside(t *testing.T, dir string) (name string) {
	t.Helper()
	s, err := spool.Open(spool.Config{Dir: dir}, spool.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	raw := []byte("an event")
	if err := s.SetAside(raw, sha256.Sum256(raw)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "setaside", "*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	return names[0]
}

// foreign gives a segment another version and the checksum that goes with it (docs/format/spool.md).
func foreign(p []byte) []byte {
	binary.LittleEndian.PutUint32(p[12:], 9)
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p[12:64], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// The listing is a contract with whoever reads it by eye or by program.
func TestListingGolden(t *testing.T) {
	dir := filled(t)
	setAside(t, dir)
	if err := os.MkdirAll(filepath.Join(dir, "quarantine"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "quarantine", "x.bad"), make([]byte, 1536), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := List(source(dir))
	if err != nil {
		t.Fatal(err)
	}
	for golden, write := range map[string]func(*bytes.Buffer) error{
		"ls.txt":  func(b *bytes.Buffer) error { return l.WriteText(b) },
		"ls.json": func(b *bytes.Buffer) error { return l.WriteJSON(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join("testdata", golden)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s: %v\n%s\nwant (UPDATE_GOLDEN=1 writes it anew)\n%s", golden, err, b.String(), want)
		}
	}
}

// Every kind of damage is named by verify, counted by ls and passed over by export.
func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name    string
		harm    func(t *testing.T, dir string)
		verify  string // in its output; the last line ends with "1 damaged"
		list    string // in the text
		records int64  // exported
		damaged int64
	}{
		{"another version", func(t *testing.T, dir string) { edit(t, segment(t, dir), foreign) },
			"a segment of another version, which this one cannot read\n", "damaged: 1 regions, ", 0, 1},
		{"a set-aside file that is not what its name says", func(t *testing.T, dir string) {
			edit(t, setAside(t, dir), func([]byte) []byte { return []byte("another") })
		}, ".json: its content has the checksum ", "set aside: 1 files, 7B\n", 10, 0},
		{"a cursor", func(t *testing.T, dir string) {
			edit(t, filepath.Join(dir, "cursors"), func(p []byte) []byte {
				i := bytes.LastIndex(p, []byte("t.dlq"))
				if i < 0 {
					t.Fatal("no slot")
				}
				p[i] ^= 1
				return p
			})
		}, "cursors: 1 of ", "damaged: 0 regions, 0B; 1 cursors (ingest spool verify says where)\n", 10, 0},
		{"a torn end", func(t *testing.T, dir string) {
			edit(t, segment(t, dir), func(p []byte) []byte { return p[:len(p)-70] })
		}, "1 torn ends: 0 damaged\n", "torn ends: 1, ", 10, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filled(t)
			tt.harm(t, dir)
			var b bytes.Buffer
			bad, err := Verify(source(dir), &b)
			if want := strings.Count(b.String(), "\n") - 1; err != nil || bad != want || !strings.Contains(b.String(), tt.verify) {
				t.Errorf("verify: %d, %v\n%s", bad, err, b.String())
			}
			l, err := List(source(dir))
			b.Reset()
			if err != nil || l.WriteText(&b) != nil || !strings.Contains(b.String(), tt.list) {
				t.Errorf("ls: %v\n%s", err, b.String())
			}
			b.Reset()
			if sum, err := Export(source(dir), Filter{}, &b); err != nil || sum.Records != tt.records || sum.Damaged != tt.damaged {
				t.Errorf("export: %+v, %v", sum, err)
			}
		})
	}
}
