package admin

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"net/http"
	"strings"
)

// The status page is page.html: one file that loads nothing, holds no data, and reads /status, /metrics and /settings
// with the same rights as everybody. It is embedded compressed, because every instance of a function carries it.
// go test ./internal/admin -run TestThePageIsPacked -update packs it again.
var (
	//go:embed page.html.gz
	packedPage []byte
	//go:embed page.csp
	pagePolicy string // names the hashes of its style and its script, so that nothing else is run
)

// page answers with the status page.
func page(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Vary", "Accept-Encoding")
	head(w, "text/html; charset=utf-8")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.Write(packedPage) // an error means that the client has gone
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(packedPage))
	if err != nil {
		panic("admin: " + err.Error()) // a test reads the whole file
	}
	io.Copy(w, z)
}
