package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"functiongraph-ingest/pkg/decode"
)

// version is one line: the module's version, the revision it was built from, the Go version, the platform
// and the decoder.
func version() string {
	return buildOf(buildInfo()).String()
}

func buildInfo() *debug.BuildInfo {
	info, ok := debug.ReadBuildInfo()
	if !ok { // a binary built without module support
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return info
}

// build is what ingest version --json prints.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the sources, cut to 12 digits
	Changed  bool   `json:"changed"`            // beyond the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Decoder  string `json:"decoder"`
}

func buildOf(info *debug.BuildInfo) build {
	b := build{Version: info.Main.Version, Go: info.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH, Decoder: decoder(decode.Native, decode.Vectors())}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value[:min(12, len(s.Value))] // as long as in a pseudo-version
		case "vcs.modified":
			b.Changed = s.Value == "true"
		}
	}
	return b
}

// String is one line.
func (b build) String() string {
	words := []string{"ingest", b.Version}
	if b.Revision != "" {
		revision := b.Revision
		if b.Changed {
			revision += "+changes"
		}
		words = append(words, "revision", revision)
	}
	words = append(words, b.Go, b.Platform, b.Decoder, "decoder")
	return strings.Join(words, " ")
}

func printVersion(stdout io.Writer, asJSON bool) int {
	b := buildOf(buildInfo())
	if !asJSON {
		fmt.Fprintln(stdout, b)
		return exitOK
	}
	if err := json.NewEncoder(stdout).Encode(b); err != nil {
		return exitFailed
	}
	return exitOK
}

// decoder names the fastest code that bodies meet: sonic's, our assembly, or Go alone.
func decoder(native, vectors bool) string {
	switch {
	case native:
		return "native"
	case vectors:
		return "avx2"
	default:
		return "go"
	}
}
