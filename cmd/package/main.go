// Command package builds the dependency packages for FunctionGraph: for each architecture one zip with
// extension/extensionIngest.sh, the static binary, its bill of materials and the licences of what is linked. The
// same sources and the same Go make the same bytes. With -describe it writes the last two of them for a binary that is
// there already.
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
	describe := flag.String("describe", "", "only write the bill of materials and the notice of this binary into the folder")
	flag.Parse()
	var err error
	if *describe != "" {
		err = writeDescription(*describe, *out)
	} else {
		err = run(*out, strings.Split(*arch, ","))
	}
	if err != nil {
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
	bom, notices, err := describe(bin)
	if err != nil {
		return err
	}
	text, err := pack([]file{
		{"extension/extensionIngest.sh", startScript, true},
		{"extension/ingest", program, true},
		{"extension/" + bomName, bom, false},
		{"extension/" + noticeName, notices, false},
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

const (
	bomName    = "sbom.cdx.json"
	noticeName = "NOTICE"
)

// describe makes the bill of materials of a binary, and the notice with the licences of what is linked into it.
func describe(bin string) (bom, notices []byte, err error) {
	modules, info, err := linked(bin)
	if err != nil {
		return nil, nil, err
	}
	all, err := licences(modules)
	if err != nil {
		return nil, nil, err
	}
	bom, err = materials(modules, info, all)
	return bom, notice(modules, info.GoVersion, all), err
}

// writeDescription writes what describe makes of a binary into the folder, under the binary's name with a dot behind it.
func writeDescription(bin, folder string) error {
	bom, notices, err := describe(bin)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	name := filepath.Join(folder, filepath.Base(bin)) + "."
	return errors.Join(os.WriteFile(name+bomName, bom, 0o644), os.WriteFile(name+noticeName, notices, 0o644))
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
