package admin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "pack page.html")

// policyOf is the policy under which the page works, and nothing that gets into it.
func policyOf(t *testing.T, html []byte) string {
	t.Helper()
	sum := func(tag string) string {
		found := regexp.MustCompile(`(?s)<`+tag+`>(.*?)</`+tag+`>`).FindAllSubmatch(html, -1)
		if len(found) != 1 {
			t.Fatalf("%d elements %s, want 1", len(found), tag)
		}
		s := sha256.Sum256(found[0][1])
		return "'sha256-" + base64.StdEncoding.EncodeToString(s[:]) + "'"
	}
	return "default-src 'none'; script-src " + sum("script") + "; style-src " + sum("style") +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
}

// The embedded files are made of page.html.
func TestThePageIsPacked(t *testing.T) {
	html, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err == nil {
			_, err = z.Write(html)
		}
		if err == nil {
			err = z.Close()
		}
		if err == nil {
			err = os.WriteFile("page.html.gz", packed.Bytes(), 0o644)
		}
		if err == nil {
			err = os.WriteFile("page.csp", []byte(policyOf(t, html)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(packedPage))
	if err != nil {
		t.Fatal(err)
	}
	if packed, err := io.ReadAll(z); err != nil || !bytes.Equal(packed, html) {
		t.Errorf("page.html.gz is not page.html (%v): go test ./internal/admin -run TestThePageIsPacked -update", err)
	}
	if pagePolicy != policyOf(t, html) {
		t.Error("page.csp is not the policy of page.html: go test ./internal/admin -run TestThePageIsPacked -update")
	}
	if len(packedPage) > 8<<10 {
		t.Errorf("the page takes %d bytes of every instance, want 8 KiB at most", len(packedPage))
	}
}

// What comes from outside is text in the page: it never becomes markup, and nothing is loaded from elsewhere.
func TestThePageMakesNoMarkupOfText(t *testing.T) {
	html, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, banned := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "http://", "https://", "//cdn", "src=", " style=", " on"} {
		text := string(html)
		if banned == " on" { // handlers in attributes
			if m := regexp.MustCompile(`<[^>]* on[a-z]+=`).FindString(text); m != "" {
				t.Errorf("a handler in an attribute: %s", m)
			}
			continue
		}
		if strings.Contains(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), banned) {
			t.Errorf("page.html has %q", banned)
		}
	}
}

func TestThePageIsServed(t *testing.T) {
	base, client := run(t, Config{}, deps(func() error { return nil }))
	for _, encoding := range []string{"gzip", "identity"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", encoding)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if encoding == "gzip" {
			if !bytes.Equal(body, packedPage) || resp.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%d bytes, %q", len(body), resp.Header.Get("Content-Encoding"))
			}
		} else if !bytes.HasPrefix(body, []byte("<!doctype html>")) || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%.40q, %q", body, resp.Header.Get("Content-Encoding"))
		}
		h := resp.Header
		if resp.StatusCode != 200 || h.Get("Content-Security-Policy") != pagePolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%d %v", resp.StatusCode, h)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rebound.example"
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign host gets %d", resp.StatusCode)
	}
}
