package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// licence is what a module of the binary is under.
type licence struct {
	ids   []string // SPDX, of all its parts
	texts []string // its licence and notice files, whole
}

// licences reads the licence files of modules from where the build took them, and Go's own under the path "go". A
// module without one, or with one that is not known here, is an error: nothing may be linked that cannot be passed on.
func licences(modules []*debug.Module) (map[string]licence, error) {
	args := []string{"list", "-m", "-json"}
	for _, m := range modules {
		args = append(args, m.Path) // in the version of the build
	}
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return nil, fmt.Errorf("go list -m: %w", err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	all := map[string]licence{}
	if all["go"], err = licenceIn(strings.TrimSpace(string(root))); err != nil {
		return nil, fmt.Errorf("go: %w", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Dir string }
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if all[m.Path], err = licenceIn(m.Dir); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
	}
}

// licenceIn reads the licence of what is in a folder.
func licenceIn(dir string) (licence, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return licence{}, err
	}
	var l licence
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		isLicence := strings.HasPrefix(name, "LICENSE") || strings.HasPrefix(name, "LICENCE") || strings.HasPrefix(name, "COPYING")
		if e.IsDir() || !isLicence && !strings.HasPrefix(name, "NOTICE") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return licence{}, err
		}
		l.texts = append(l.texts, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
		if isLicence {
			for _, id := range identify(string(text)) {
				if !slices.Contains(l.ids, id) {
					l.ids = append(l.ids, id)
				}
			}
		}
	}
	if len(l.ids) == 0 {
		return licence{}, errors.New("no licence that is known here; read it, and teach cmd/package or leave the module out")
	}
	return l, nil
}

// identify lists the SPDX identifiers of the licences in a text, sorted; none for a text that is not known, or that
// has one that asks for more than to be named.
func identify(text string) []string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(s string) bool { return strings.Contains(text, s) }
	for _, bad := range []string{"GENERAL PUBLIC LICENSE", "General Public License", "Mozilla Public License", "Business Source License", "Server Side Public License"} {
		if has(bad) && !has("Apache License Version 2.0") {
			return nil
		}
	}
	var ids []string
	if has("Apache License Version 2.0") {
		ids = append(ids, "Apache-2.0")
	}
	switch bsd := has("Redistributions of source code"); {
	case bsd && (has("Neither the name") || has("The names of its contributors may not")):
		ids = append(ids, "BSD-3-Clause")
	case bsd:
		ids = append(ids, "BSD-2-Clause")
	}
	if has("Permission to use, copy, modify, and/or distribute this software") {
		ids = append(ids, "ISC")
	}
	if has("Permission is hereby granted, free of charge") {
		ids = append(ids, "MIT")
	}
	return ids
}

// notice is the file NOTICE of a package: who made what is linked, and under which terms.
func notice(modules []*debug.Module, goVersion string, all map[string]licence) []byte {
	var b bytes.Buffer
	b.WriteString("ingest is licensed under the Apache License, Version 2.0 (http://www.apache.org/licenses/LICENSE-2.0).\n" +
		"This program contains the following software of others, each under its own licence.\n\n")
	parts := slices.Concat([]*debug.Module{{Path: "go", Version: strings.TrimPrefix(goVersion, "go")}}, modules)
	for _, m := range parts {
		fmt.Fprintf(&b, "%s %s: %s\n", m.Path, m.Version, strings.Join(all[m.Path].ids, " and "))
	}
	for _, m := range parts {
		fmt.Fprintf(&b, "\n%s\n%s %s\n", strings.Repeat("=", 72), m.Path, m.Version)
		for _, text := range all[m.Path].texts {
			fmt.Fprintf(&b, "%s\n%s\n", strings.Repeat("-", 72), text)
		}
	}
	return b.Bytes()
}
