package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The program of library.md is built as the page says, outside of this module and without a network, and says what the
// page promises.
func TestModuleInAnotherProgram(t *testing.T) {
	text, err := os.ReadFile("library.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(language string) string {
		_, after, ok := strings.Cut(string(text), "```"+language+"\n")
		block, _, ok2 := strings.Cut(after, "```")
		if !ok || !ok2 {
			t.Fatalf("no block of %s", language)
		}
		return block
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(block("go")), 0o600); err != nil {
		t.Fatal(err)
	}
	command, said, _ := strings.Cut(strings.TrimPrefix(block("text"), "$ "), "\n")
	script := strings.ReplaceAll(block("sh"), "../functiongraph-ingest", root) + "test -z \"$(gofmt -l .)\"\n" + command
	cmd := exec.CommandContext(t.Context(), "bash", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(said) {
		if !strings.Contains(string(out), line) {
			t.Errorf("the page promises %q, the commands wrote\n%s", line, out)
		}
	}
}
