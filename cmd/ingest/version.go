package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"functiongraph-ingest/pkg/decode"
)

// version is one line: the module's version, the revision it was built from, the Go version, the platform
// and the decoder.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok { // a binary built without module support
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return versionLine(info)
}

func versionLine(info *debug.BuildInfo) string {
	words := []string{"ingest", info.Main.Version}
	if info.Main.Version == "" {
		words[1] = "(devel)"
	}
	setting := map[string]string{}
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	if revision := setting["vcs.revision"]; revision != "" {
		revision = revision[:min(12, len(revision))] // as long as in a pseudo-version
		if setting["vcs.modified"] == "true" {
			revision += "+changes"
		}
		words = append(words, "revision", revision)
	}
	words = append(words, info.GoVersion, runtime.GOOS+"/"+runtime.GOARCH, decoder(decode.Native, decode.Vectors()), "decoder")
	return strings.Join(words, " ")
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
