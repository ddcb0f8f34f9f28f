package test

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"functiongraph-ingest/internal/fgsim"
	"functiongraph-ingest/test/kafkatest"
)

// The package for arm64, on another architecture in qemu's user mode: start script, registration, subscription,
// invocations, telemetry, Kafka, SIGTERM.
func TestARM64PackageInFunctionGraph(t *testing.T) {
	dir := unzip(t, packageOf(t, "arm64"))
	if runtime.GOARCH != "arm64" {
		emulate(t, filepath.Join(dir, "extension", "ingest"))
	}
	report, account := inFunctionGraph(t, kafka(t), "fgsim-arm64",
		"{traffic: {duration: 3s, concurrency: 50, connections: 2, rate: 500}, platform: {slips: 0.1, broken: 0.05, invoke: both, resend: 200}}",
		fgsim.Options{Command: []string{filepath.Join(dir, "extension", "extensionIngest.sh")}, Name: "extensionIngest.sh"})
	if report.Invocations.Sent < 50 || account.acked < 500 {
		t.Errorf("%d invocations, %d events acked", report.Invocations.Sent, account.acked)
	}
}

// emulate puts a script that calls qemu in the place of a program for arm64.
func emulate(t *testing.T, program string) {
	t.Helper()
	qemu, err := exec.LookPath("qemu-aarch64")
	if err != nil {
		kafkatest.Unavailable(t, fmt.Errorf("%w: qemu-aarch64 is missing, Debian's package is qemu-user", kafkatest.ErrUnavailable))
	}
	must(t, os.Rename(program, program+".arm64"))
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' '%s.arm64' \"$@\"\n", qemu, program)
	must(t, os.WriteFile(program, []byte(script), 0o755))
}

// unzip unpacks a package into a folder of the test's.
func unzip(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	z, err := zip.OpenReader(name)
	must(t, err)
	defer z.Close()
	for _, f := range z.File {
		to := filepath.Join(dir, f.Name)
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		if f.Mode().IsDir() {
			continue
		}
		r, err := f.Open()
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, r.Close())
		must(t, os.WriteFile(to, data, f.Mode()))
	}
	return dir
}
