package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "functiongraph-ingest"

// stages are the steps that an event goes through. None knows another one: only assemblers put them
// together. A stage is its package and everything below it.
var stages = []string{"internal/listen", "pkg/decode", "pkg/sink", "internal/spool", "internal/platform"}

// assemblers may import several stages. The spool's tools read its frames and the batches in them.
var assemblers = []string{"internal/pipeline", "internal/spoolctl", "cmd"}

// seams are what two stages have in common: types that import nothing of the module.
var seams = []string{"pkg/sink/kafka/diskqueue"}

// notProduct is what does not run at a user's: its imports are free.
var notProduct = []string{"test", "bench", "cmd/demo", "cmd/fgsim", "internal/fgsim", "internal/simulator"}

// oneImporter lists parts that count as one importer of third-party libraries though they have several
// packages.
var oneImporter = []string{"pkg/sink/kafka"}

// testLibraries are never imported by the product.
var testLibraries = []string{"testing", "net/http/httptest", "github.com/anishathalye/porcupine", "go.uber.org/goleak", "github.com/tetratelabs/wazero", "github.com/twmb/franz-go"}

type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	CgoFiles   []string
}

// list runs go list with an environment and decodes the packages.
func list(t *testing.T, env []string, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Imports,CgoFiles"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// product returns the packages that run at a user's, by path within the module. Imports are those of
// all files that are not tests, under the given build tags.
func product(t *testing.T, tags string) map[string]goPackage {
	t.Helper()
	packages := map[string]goPackage{}
	for _, p := range list(t, nil, "-tags="+tags, module+"/...") {
		path := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if part(path, notProduct) == "" && !strings.HasSuffix(path, "test") { // fakes live in "…test" packages
			packages[path] = p
		}
	}
	if len(packages) == 0 {
		t.Fatal("no packages")
	}
	return packages
}

// part returns the entry of parts that path is or lies below; "" for none.
func part(path string, parts []string) string {
	for _, p := range parts {
		if path == p || strings.HasPrefix(path, p+"/") {
			return p
		}
	}
	return ""
}

// local returns the path of an import within the module; ok is false for imports from outside.
func local(path string) (string, bool) { return strings.CutPrefix(path, module+"/") }

func TestStagesNeverImportEachOther(t *testing.T) {
	for path, p := range product(t, "") {
		own := part(path, stages)
		seen := map[string]bool{}
		for _, i := range p.Imports {
			other, ok := local(i)
			if !ok {
				continue
			}
			stage := part(other, stages)
			switch {
			case part(path, seams) != "":
				t.Errorf("seam %s imports %s", path, other)
			case stage == "", part(other, seams) != "":
			case own != "" && stage != own:
				t.Errorf("stage %s imports stage %s", path, other)
			case strings.HasPrefix(path, "pkg/sink/") && stage == "pkg/sink" && !mayImport(path, other):
				t.Errorf("sink %s imports sink %s", path, other)
			default:
				seen[stage] = true
			}
		}
		if own == "" && len(seen) > 1 && part(path, assemblers) == "" {
			t.Errorf("%s imports several stages and is no assembler", path)
		}
	}
}

// mayImport: a sink imports the seam, pkg/sink, and what is its own.
func mayImport(sink, other string) bool {
	if other == "pkg/sink" {
		return true
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(sink, "pkg/sink/"), "/")
	return part(other, []string{"pkg/sink/" + name}) != ""
}

func TestPublicPackagesDoNotImportInternalOnes(t *testing.T) {
	for path, p := range product(t, "") {
		if !strings.HasPrefix(path, "pkg/") {
			continue
		}
		for _, i := range p.Imports {
			if other, ok := local(i); ok && strings.HasPrefix(other, "internal/") {
				t.Errorf("%s imports %s", path, other)
			}
		}
	}
}

func TestEachLibraryHasOneImporter(t *testing.T) {
	importers := map[string][]string{}
	modules := modulePaths(t)
	for path, p := range product(t, "") {
		who := path
		if group := part(path, oneImporter); group != "" {
			who = group
		}
		for _, i := range p.Imports {
			if lib := part(i, modules); lib != "" && !slices.Contains(importers[lib], who) {
				importers[lib] = append(importers[lib], who)
			}
		}
	}
	for lib, who := range importers {
		// The system call package is the standard library's other half. Batches are compressed by a public package and
		// request bodies decompressed by an internal one, which the public one may not import.
		slices.Sort(who)
		both := lib == "github.com/klauspost/compress" && slices.Equal(who, []string{"internal/inflate", "pkg/sink/kafka"})
		if len(who) > 1 && lib != "golang.org/x/sys" && !both {
			t.Errorf("%s has %d importers: %s", lib, len(who), strings.Join(who, ", "))
		}
	}
}

// modulePaths are the modules that this one requires.
func modulePaths(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{if not .Main}}{{.Path}}{{end}}", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	paths := strings.Fields(string(out))
	// The longest first: a module may lie below another one's path.
	slices.SortFunc(paths, func(a, b string) int { return len(b) - len(a) })
	return paths
}

func TestTheProductImportsNoTestHelpers(t *testing.T) {
	for path, p := range product(t, "") {
		for _, i := range p.Imports {
			other, ok := local(i)
			if !ok && part(i, testLibraries) != "" || ok && (part(other, notProduct) != "" || strings.HasSuffix(other, "test")) {
				t.Errorf("%s imports %s", path, i)
			}
		}
	}
}

// TestNoCgo: with cgo switched on only the standard library would use it, so the binary without cgo
// has everything that it has with it.
func TestNoCgo(t *testing.T) {
	for _, p := range list(t, []string{"CGO_ENABLED=1"}, "-deps", module+"/cmd/ingest") {
		if !p.Standard && len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo", p.ImportPath)
		}
	}
}

// TestNothingCallsMethodsByName: one such call, with a name that the linker does not know, and the binary
// keeps every exported method of every type, a third of its size (docs/adr/0022).
func TestNothingCallsMethodsByName(t *testing.T) {
	cmd := exec.Command("go", "build", "-tags=nosonic", "-ldflags=-dumpdep -s -w", "-o", os.DevNull, module+"/cmd/ingest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput() // caller -> callee, a line each
	if err != nil {
		t.Fatalf("go build: %v", err)
	}
	lines, callers := 0, map[string]bool{}
	for line := range bytes.Lines(out) {
		lines++
		if caller, callee, _ := bytes.Cut(line, []byte(" -> ")); bytes.Contains(caller, []byte("<ReflectMethod>")) {
			callers[string(caller)] = true
		} else if bytes.Contains(callee, []byte("<ReflectMethod>")) {
			callers[string(caller)] = true
		}
	}
	if lines < 1000 {
		t.Fatalf("the linker tells of %d references only", lines)
	}
	for c := range callers {
		t.Errorf("%s", c)
	}
}

// TestPurego: the build tag leaves sonic out.
func TestPurego(t *testing.T) {
	for _, p := range list(t, nil, "-tags=purego", "-deps", module+"/cmd/ingest") {
		if part(p.ImportPath, []string{"github.com/bytedance", "github.com/cloudwego"}) != "" {
			t.Errorf("a purego build has %s", p.ImportPath)
		}
	}
}
