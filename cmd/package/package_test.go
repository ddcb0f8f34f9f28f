package main

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
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

// startScriptIn lays the script and a fake binary into a directory and runs the script.
func startScriptIn(t *testing.T, dir string, mode os.FileMode, env ...string) (out, tmp string) {
	t.Helper()
	script := filepath.Join(dir, "extensionOther.sh")
	fake := "#!/bin/sh\necho \"$INGEST_EXTENSION_NAME $*\"\n"
	for name, text := range map[string]string{script: string(startScript), filepath.Join(dir, "ingest"): fake} {
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	tmp = t.TempDir()
	cmd := exec.Command("sh", script, "--own-logs")
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp), env...)
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return strings.TrimSpace(string(text)), tmp
}

const startedBy = "extensionOther.sh extension --own-logs"

// The script runs the binary beside it, whatever the working directory and the script's own name.
func TestStartScript(t *testing.T) {
	for _, mode := range []os.FileMode{0o755, 0o644} { // and where the modes were lost
		if out, tmp := startScriptIn(t, t.TempDir(), mode); out != startedBy || len(files(t, tmp)) != 0 {
			t.Errorf("mode %v: %q, left behind: %v", mode, out, files(t, tmp))
		}
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

// withoutChmod is a PATH whose chmod does nothing to the package, as on a file system that is mounted read-only.
func withoutChmod(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text := "#!/bin/sh\ncase $2 in */package/*) exit 1;; esac\nPATH=" + os.Getenv("PATH") + " exec chmod \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "chmod"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}

func packageDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "package", "extension")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Where the binary may not be executed and the package is read-only, its copy is gone before it runs, and no name
// that others could have made before is used.
func TestStartScriptCopies(t *testing.T) {
	out, tmp := startScriptIn(t, packageDir(t), 0o644, withoutChmod(t))
	if out != startedBy || len(files(t, tmp)) != 0 {
		t.Errorf("%q, left behind: %v", out, files(t, tmp))
	}
	if strings.Contains(string(startScript), "$$") {
		t.Error("the script uses a name that can be guessed")
	}
}

// Where there is no room for a copy either it says so in one line, and the function does not fail.
func TestStartScriptCannotCopy(t *testing.T) {
	out, _ := startScriptIn(t, packageDir(t), 0o644, withoutChmod(t), "TMPDIR="+filepath.Join(t.TempDir(), "missing"))
	if !strings.Contains(out, "no telemetry is taken: pack it with mode 0755") {
		t.Errorf("%q", out)
	}
}

// Every module of the program has licence files that are known, and both lists name each with version, licence, text
// and hash.
func TestNoticeAndMaterialsNameEverythingThatIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "functiongraph-ingest/cmd/ingest").Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules []*debug.Module
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !seen[path] {
			seen[path] = true
			modules = append(modules, &debug.Module{Path: path, Version: version, Sum: "h1:" + strings.Repeat("A", 43) + "="})
		}
	}
	all, err := licences(modules)
	if err != nil {
		t.Fatal(err)
	}
	bom, err := materials(modules, &debug.BuildInfo{GoVersion: "go1.2"}, all)
	if err != nil || len(modules) < 10 {
		t.Fatalf("%d modules, %v", len(modules), err)
	}
	text := string(notice(modules, "go1.2", all))
	for _, m := range modules {
		if len(all[m.Path].ids) == 0 || len(all[m.Path].texts) == 0 || !strings.Contains(text, all[m.Path].texts[0]) || !strings.Contains(text, "\n"+m.Path+" "+m.Version+": ") {
			t.Errorf("NOTICE says too little of %s", m.Path)
		}
		if !strings.Contains(string(bom), `"purl": "pkg:golang/`+m.Path+"@"+m.Version+`"`) {
			t.Errorf("the bill of materials lacks %s", m.Path)
		}
	}
	if n := strings.Count(string(bom), `"alg": "SHA-256"`); n != len(modules) {
		t.Errorf("%d hashes for %d modules", n, len(modules))
	}
}

func TestALicenceThatIsNotKnownEndsTheBuild(t *testing.T) {
	for text, want := range map[string]string{
		"MIT License\n\nPermission is hereby granted, free of charge, to any person":              "MIT",
		"Redistributions of source code must ... Neither the name of":                             "BSD-3-Clause",
		"Redistributions of source code must":                                                     "BSD-2-Clause",
		"Apache License\n   Version 2.0, January 2004":                                            "Apache-2.0",
		"GNU GENERAL PUBLIC LICENSE\n Version 3 ... Permission is hereby granted, free of charge": "",
		"all rights reserved": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "LICENSE.md"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := licenceIn(dir); strings.Join(l.ids, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%q: %v, %v", text, l.ids, err)
		}
	}
	if _, err := licenceIn(t.TempDir()); err == nil {
		t.Error("no licence is none")
	}
}

// TestAnyBinaryIsDescribed: the image and the plain binaries of a release have a notice and a bill of materials, too.
func TestAnyBinaryIsDescribed(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeDescription(self, dir); err != nil {
		t.Fatal(err)
	}
	for end, want := range map[string]string{noticeName: "The Go Authors", bomName: `"bomFormat"`} {
		text, err := os.ReadFile(filepath.Join(dir, filepath.Base(self)+"."+end))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, %d bytes without %q", end, err, len(text), want)
		}
	}
}
