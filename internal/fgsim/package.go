package fgsim

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	maxFiles      = 30_000
	maxUnpacked   = 1 << 30 // bytes, so that a broken zip does not fill the disk; the platform's limit is not documented
	scriptPattern = "extension*.sh"
)

// isScript reports whether a file name is that of a start script.
func isScript(name string) bool {
	ok, _ := path.Match(scriptPattern, name) // the pattern is good
	return ok
}

// unpack checks a package against the documented limits, notes what breaks them, and unpacks it into dir. It
// returns the start script below dir; an error when there is nothing that could be started.
func unpack(file, dir string, note func(code, text string)) (script string, err error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return "", fmt.Errorf("package %s: %w", file, err)
	}
	defer func() { _ = z.Close() }()
	var scripts []string
	var files int
	left := int64(maxUnpacked)
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if files++; files > maxFiles {
			continue
		}
		if strings.HasSuffix(f.Name, "~") {
			note(BadPackage, fmt.Sprintf("the file name %q ends in ~", f.Name))
		}
		if !filepath.IsLocal(f.Name) {
			return "", fmt.Errorf("package %s: %q leads out of the package", file, f.Name)
		}
		if path.Dir(f.Name) == "extension" && isScript(path.Base(f.Name)) {
			scripts = append(scripts, f.Name)
			if f.Mode()&0o111 == 0 {
				note(BadPackage, fmt.Sprintf("%s has no x bit (mode %v)", f.Name, f.Mode()))
			}
		}
		n, err := extract(f, filepath.Join(dir, filepath.FromSlash(f.Name)), left)
		if err != nil {
			return "", fmt.Errorf("package %s: %s: %w", file, f.Name, err)
		}
		left -= n
	}
	if files > maxFiles {
		note(BadPackage, fmt.Sprintf("%d files: at most %d are allowed", files, maxFiles))
	}
	switch len(scripts) {
	case 0:
		return "", fmt.Errorf("package %s: no start script extension/%s", file, scriptPattern)
	case 1:
	default:
		note(BadPackage, fmt.Sprintf("%d start scripts (%s): the first is taken", len(scripts), strings.Join(scripts, ", ")))
	}
	script = filepath.Join(dir, filepath.FromSlash(scripts[0]))
	return script, os.Chmod(script, 0o755)
}

// extract writes one file of at most limit bytes.
func extract(f *zip.File, to string, limit int64) (n int64, err error) {
	if !f.Mode().IsRegular() {
		return 0, fmt.Errorf("not a regular file (%v)", f.Mode())
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	r, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode().Perm()|0o600)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(w, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes unpacked", int64(maxUnpacked))
	}
	return n, errors.Join(err, w.Close())
}
