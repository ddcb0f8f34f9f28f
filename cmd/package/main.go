// Command package builds the dependency packages for FunctionGraph: for each architecture one zip with
// extension/extensionIngest.sh, the static binary, its bill of materials and the licences of what is linked. The
// same sources and the same Go make the same bytes.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed extensionIngest.sh
var startScript []byte

// maxZip is the promise for a package's size.
const maxZip = 6_000_000

// cold are packages that run at the start or for an operator only. Without inlining they are smaller.
func cold() []string {
	return []string{"github.com/spf13/...", "github.com/goccy/...", "github.com/molecule-man/...", "net/http/..."}
}

func main() {
	out := flag.String("out", "dist", "folder for the packages")
	arch := flag.String("arch", "amd64,arm64", "architectures, separated by commas")
	flag.Parse()
	if err := run(*out, strings.Split(*arch, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func run(out string, architectures []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "ingest-package-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	var errs []error
	for _, arch := range architectures {
		errs = append(errs, build(out, tmp, arch))
	}
	return errors.Join(errs...)
}

// build makes, checks and tries one package.
func build(out, tmp, arch string) error {
	bin := filepath.Join(tmp, "ingest-"+arch)
	args := []string{"build", "-tags", "nosonic", "-trimpath", "-ldflags", "-s -w -buildid="}
	for _, packages := range cold() {
		args = append(args, "-gcflags="+packages+"=-l")
	}
	cmd := exec.Command("go", append(args, "-o", bin, "functiongraph-ingest/cmd/ingest")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: go build: %w\n%s", arch, err, text)
	}
	ran, err := try(bin, arch)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		return err
	}
	modules, info, err := linked(bin)
	if err != nil {
		return err
	}
	all, err := licences(modules)
	if err != nil {
		return err
	}
	bom, err := materials(modules, info, all)
	if err != nil {
		return err
	}
	text, err := pack([]file{
		{"extension/extensionIngest.sh", startScript, true},
		{"extension/ingest", program, true},
		{"extension/sbom.cdx.json", bom, false},
		{"extension/NOTICE", notice(modules, info.GoVersion, all), false},
	})
	if err != nil {
		return err
	}
	path := filepath.Join(out, "ingest-extension-linux-"+arch+".zip")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %d bytes, binary %d bytes, %s\n", path, len(text), len(program), ran)
	if len(text) > maxZip {
		return fmt.Errorf("%s has %d bytes, at most %d are promised", path, len(text), maxZip)
	}
	return nil
}

// try runs the binary, another architecture's in qemu's user mode where that is installed.
func try(bin, arch string) (string, error) {
	cmd := exec.Command(bin, "version")
	host, err := exec.Command("go", "env", "GOHOSTARCH").Output()
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(string(host)) != arch {
		name := map[string]string{"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}[arch]
		qemu, err := exec.LookPath(name)
		if err != nil {
			return "not tried: no " + name, nil
		}
		cmd = exec.Command(qemu, bin, "version")
	}
	text, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s does not run: %w\n%s", arch, err, text)
	}
	return "runs: " + strings.TrimSpace(string(text)), nil
}
