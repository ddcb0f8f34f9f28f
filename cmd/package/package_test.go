package main

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPackIsReproducibleAndKeepsModes(t *testing.T) {
	files := []file{{"extension/extensionIngest.sh", startScript, true}, {"extension/sbom.cdx.json", []byte("{}"), false}}
	a, err := pack(files)
	if err != nil {
		t.Fatal(err)
	}
	b, err := pack(files)
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("two packages differ, %v", err)
	}
	r, err := zip.NewReader(bytes.NewReader(a), int64(len(a)))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range r.File {
		if f.Name != files[i].name || (f.Mode()&0o111 != 0) != files[i].exec {
			t.Errorf("%s %v", f.Name, f.Mode())
		}
	}
}

func TestDocumentedLimits(t *testing.T) {
	script := file{"extension/extensionIngest.sh", nil, true}
	for name, files := range map[string][]file{
		"a tilde":                {script, {"extension/x~", nil, false}},
		"no script":              {{"extension/ingest", nil, true}},
		"script elsewhere":       {{"extensionIngest.sh", nil, true}},
		"two scripts":            {script, {"extension/extension2.sh", nil, true}},
		"too many files":         append(make([]file, maxFiles), script),
		"script of another name": {{"extension/start.sh", nil, true}},
	} {
		if _, err := pack(files); err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

// The script runs the binary beside it, whatever the working directory and the script's own name.
func TestStartScript(t *testing.T) {
	for _, mode := range []os.FileMode{0o755, 0o644} { // and where the modes were lost
		dir := t.TempDir()
		script := filepath.Join(dir, "extensionOther.sh")
		fake := "#!/bin/sh\necho \"$INGEST_EXTENSION_NAME $*\"\n"
		for name, text := range map[string]string{script: string(startScript), filepath.Join(dir, "ingest"): fake} {
			if err := os.WriteFile(name, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("sh", script, "--own-logs")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != "extensionOther.sh extension --own-logs" {
			t.Errorf("mode %v: %q, %v", mode, got, err)
		}
	}
}
