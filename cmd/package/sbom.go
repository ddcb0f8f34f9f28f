package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
)

// component is an entry of a CycloneDX 1.5 bill of materials.
type component struct {
	Type     string          `json:"type"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Purl     string          `json:"purl,omitempty"`
	Hashes   []hash          `json:"hashes,omitempty"`
	Licences []licenceChoice `json:"licenses,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"` // in hex
}

type licenceChoice struct {
	Licence struct {
		ID string `json:"id"` // SPDX
	} `json:"license"`
}

// linked lists the modules in a binary, as the linker wrote them down, sorted, and the Go version.
func linked(bin string) (modules []*debug.Module, info *debug.BuildInfo, err error) {
	if info, err = buildinfo.ReadFile(bin); err != nil {
		return nil, nil, err
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return modules, info, nil
}

// materials is the bill of materials: what is linked, in which version, under which licence. The hash of a module is
// that of go.sum, a SHA-256 over the names and hashes of its files (golang.org/x/mod/sumdb/dirhash), in hex.
func materials(modules []*debug.Module, info *debug.BuildInfo, all map[string]licence) ([]byte, error) {
	list := []component{{Type: "platform", Name: "go", Version: strings.TrimPrefix(info.GoVersion, "go"), Licences: choices(all["go"].ids)}}
	for _, m := range modules {
		sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
		if err != nil || len(sum) == 0 {
			return nil, fmt.Errorf("%s has no hash: %q", m.Path, m.Sum)
		}
		list = append(list, component{
			Type: "library", Name: m.Path, Version: m.Version, Purl: "pkg:golang/" + m.Path + "@" + m.Version,
			Hashes: []hash{{"SHA-256", hex.EncodeToString(sum)}}, Licences: choices(all[m.Path].ids),
		})
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (version == "" || version == "(devel)") {
			version = s.Value
		}
	}
	return json.MarshalIndent(map[string]any{
		"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
		"metadata":   map[string]any{"component": component{Type: "application", Name: "ingest", Version: version, Licences: choices([]string{"Apache-2.0"})}},
		"components": list,
	}, "", " ")
}

func choices(ids []string) []licenceChoice {
	list := make([]licenceChoice, len(ids))
	for i := range ids {
		list[i].Licence.ID = ids[i]
	}
	return list
}
