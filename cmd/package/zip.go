package main

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"time"
)

// file is one file of the package.
type file struct {
	name string
	data []byte
	exec bool
}

// maxFiles is the platform's limit for a package.
const maxFiles = 30_000

// pack makes the zip, byte for byte the same for the same files: no clock, no owner.
func pack(files []file) ([]byte, error) {
	if err := check(files); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(out, flate.BestCompression)
	})
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
		h.SetMode(0o644)
		if f.exec {
			h.SetMode(0o755)
		}
		e, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := e.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// check holds the package against the platform's documented limits.
func check(files []file) error {
	if len(files) > maxFiles {
		return fmt.Errorf("%d files, the platform takes %d", len(files), maxFiles)
	}
	scripts := 0
	for _, f := range files {
		if strings.HasSuffix(f.name, "~") {
			return fmt.Errorf("%s: no file name may end in ~", f.name)
		}
		name, inside := strings.CutPrefix(f.name, "extension/")
		if inside && strings.HasPrefix(name, "extension") && strings.HasSuffix(name, ".sh") {
			scripts++
		}
	}
	if scripts != 1 {
		return fmt.Errorf("%d start scripts extension/extension*.sh, it must be 1", scripts)
	}
	return nil
}
