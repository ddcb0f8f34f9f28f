package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"functiongraph-ingest/internal/tlsconf/tlstest"
	"functiongraph-ingest/pkg/sink"
	"functiongraph-ingest/pkg/sink/kafka"
)

// letterLine is a line of dlq show.
func letterLine(value string) string {
	line, _ := json.Marshal(letter{Value: &value, Headers: map[string]string{}})
	return string(line)
}

func writeFile(t *testing.T, text string) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "letters")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The guards of a listener are no obstacle to a resend, and a resend that the listener turns away ends with the first letter
// and tells no secret.
func TestResendToAGuardedListener(t *testing.T) {
	ca := tlstest.CA(t, "ca")
	var mu sync.Mutex
	posted := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		posted++
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "listener", tlstest.Hosts("127.0.0.1")).TLS()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	client := ca.Issue(t, "client")
	token, trust := tlstest.Write(t, "token", []byte("# ours\ns3cret\n")), tlstest.Write(t, "ca.pem", ca.CertPEM())
	both := tlstest.Write(t, "both.pem", client.CertPEM(), client.KeyPEM())
	cert, key := tlstest.Write(t, "cert.pem", client.CertPEM()), tlstest.Write(t, "key.pem", client.KeyPEM())
	file := writeFile(t, letterLine(`{"n":1}`)+"\n"+letterLine(`{"n":2}`)+"\n")
	for _, c := range []struct {
		flags  []string
		code   int
		posted int
		says   string
	}{
		{[]string{"--to-token-file=" + token, "--to-ca=" + trust, "--to-cert=" + both}, 0, 2, `"taken":2`},
		{[]string{"--to-token-file=" + token, "--to-ca=" + trust, "--to-cert=" + cert, "--to-key=" + key}, 0, 2, `"taken":2`},
		{[]string{"--to-ca=" + trust, "--to-cert=" + both}, 1, 1, "answered 401: name a token"},
		{[]string{"--to-token-file=" + token, "--to-ca=" + trust}, 1, 0, "certificate"},
		{[]string{"--to-token-file=" + token, "--to-cert=" + both}, 1, 0, "certificate"},
		{[]string{"--to-token-file=s3cret", "--to-ca=" + trust}, 1, 0, "--to-token-file: cannot be read"},
		{[]string{"--to-ca=" + token}, 1, 0, "--to-ca"},
		{[]string{"--to-cert=" + cert}, 1, 0, "--to-cert"},
	} {
		posted = 0
		code, out, errs := call(t, append([]string{"dlq", "resend", "--input=" + file, "--to=" + s.URL}, c.flags...)...)
		if code != c.code || posted != c.posted || !strings.Contains(out+errs, c.says) || strings.Contains(out+errs, "s3cret") {
			t.Errorf("%v: exit %d, %d posted, %s%s", c.flags, code, posted, out, errs)
		}
	}
}

// A file may come from any editor, or from jq. One that is no file of dlq show is sent in whole or not at all.
func TestFilesOfMendedLetters(t *testing.T) {
	one, two := letterLine(`{"n":1}`), letterLine("{\"n\":2}\r\n")
	var pretty bytes.Buffer
	_ = json.Indent(&pretty, []byte(two), "", "  ")
	var posted []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted = append(posted, strings.TrimSpace(string(body)))
	}))
	defer s.Close()
	for name, c := range map[string]struct {
		text string
		want []string // nil: refused
		says string
	}{
		"lines":               {one + "\n" + two + "\n", []string{`{"n":1}`, `{"n":2}`}, ""},
		"no newline":          {one, []string{`{"n":1}`}, ""},
		"CRLF":                {one + "\r\n" + two + "\r\n", []string{`{"n":1}`, `{"n":2}`}, ""},
		"byte order mark":     {"\xef\xbb\xbf" + one + "\n", []string{`{"n":1}`}, ""},
		"blank lines":         {"\n \n" + one + "\n\t\r\n" + two + "\n\n", []string{`{"n":1}`, `{"n":2}`}, ""},
		"jq without -c":       {pretty.String() + "\n" + one, []string{`{"n":2}`, `{"n":1}`}, ""},
		"empty":               {"", []string{}, ""},
		"a half line":         {one + "\n" + two[:20], nil, "letter 2 of"},
		"events":              {one + "\n{\"name\":\"function\"}\n", nil, "neither value nor valueBase64"},
		"another kind":        {"[1]\n", nil, "letter 1 of"},
		"a wrong type":        {one + "\n" + `{"value":5}`, nil, "letter 2 of"},
		"no base 64":          {`{"valueBase64":"!"}`, nil, "letter 1 of"},
		"no text, mended":     {`{"valueBase64":"eyJuIjozfQ=="}`, []string{`{"n":3}`}, ""},
		"UTF-16 of PowerShel": {"\xff\xfe{\x00", nil, "letter 1 of"},
	} {
		posted = []string{}
		code, out, errs := call(t, "dlq", "resend", "--input="+writeFile(t, c.text), "--to="+s.URL)
		if (code == 0) != (c.want != nil) || len(posted) != len(c.want) || len(c.want) > 0 && !slices.Equal(posted, c.want) || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, posted %q, %s%s", name, code, posted, out, errs)
		}
	}
}

// What comes through a pipe, as from <(jq …), can be read only once.
func TestMendedLettersThroughAPipe(t *testing.T) {
	one, two := letterLine(`{"n":1}`), letterLine(`{"n":2}`)
	var posted []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted = append(posted, string(body))
	}))
	defer s.Close()
	for name, c := range map[string]struct {
		text string
		code int
		want []string
		says string
	}{
		"whole":           {one + "\n" + two + "\n", 0, []string{`{"n":1}`, `{"n":2}`}, `"taken":2`},
		"with a bad tail": {one + "\n" + two[:20], 1, []string{`{"n":1}`}, "letter 2 of"},
	} {
		from, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		if _, err := to.WriteString(c.text); err != nil {
			t.Fatal(err)
		}
		to.Close()
		posted = nil
		code, out, errs := call(t, "dlq", "resend", fmt.Sprintf("--input=/dev/fd/%d", from.Fd()), "--to="+s.URL)
		if code != c.code || !slices.Equal(posted, c.want) || !strings.Contains(out+errs, c.says) {
			t.Errorf("%s: exit %d, posted %q, %s%s", name, code, posted, out, errs)
		}
	}
}

// A file that the shell opens (< letters) is one that can be read twice.
func TestMendedLettersFromAFileAsStdin(t *testing.T) {
	posted := 0
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { posted++ }))
	defer s.Close()
	for _, c := range []struct {
		text         string
		code, posted int
	}{
		{letterLine(`{"n":1}`) + "\n" + letterLine(`{"n":2}`), 0, 2},
		{letterLine(`{"n":1}`) + "\n{", 1, 0},
	} {
		file, err := os.Open(writeFile(t, c.text))
		if err != nil {
			t.Fatal(err)
		}
		posted = 0
		stdin := os.Stdin
		os.Stdin = file
		code, out, errs := call(t, "dlq", "resend", "--input=-", "--to="+s.URL)
		os.Stdin = stdin
		file.Close()
		if code != c.code || posted != c.posted {
			t.Errorf("%q: exit %d, %d posted, %s%s", c.text, code, posted, out, errs)
		}
	}
}

// Once a connection has taken the letter, or a part of it, an error leaves open whether the listener has it. Without a
// connection it does not have it.
func TestResendWithoutAnAnswer(t *testing.T) {
	file := writeFile(t, letterLine(`{"n":1}`)+"\n"+letterLine(`{"n":2}`)+"\n")
	var posted atomic.Int32
	cut := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		posted.Add(1)
		panic(http.ErrAbortHandler)
	})
	plain, gone, guarded := httptest.NewServer(cut), httptest.NewServer(cut), httptest.NewUnstartedServer(cut)
	defer plain.Close()
	gone.Close()
	guarded.Config.ErrorLog = log.New(io.Discard, "", 0)
	guarded.StartTLS()
	defer guarded.Close()
	const open, refused = "whether that letter was taken is open", "no letter can be sent there"
	for name, c := range map[string]struct {
		to          string
		posted      int32
		says, never string
	}{
		"a reset after the body": {plain.URL, 1, open, refused},
		"nothing listens":        {gone.URL, 0, refused, open},
		"an unknown certificate": {guarded.URL, 0, refused, open},
	} {
		posted.Store(0)
		code, out, errs := call(t, "dlq", "resend", "--input="+file, "--to="+c.to)
		if code != 1 || posted.Load() != c.posted || !strings.Contains(errs, c.says) || strings.Contains(errs, c.never) {
			t.Errorf("%s: exit %d, %d posted, %s%s", name, code, posted.Load(), out, errs)
		}
	}
}

// A resend that ends early says how far it came.
func TestResendThatEndsEarly(t *testing.T) {
	var s *httptest.Server
	var posted atomic.Int32
	s = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) {
		if posted.Add(1) == 2 {
			s.CloseClientConnections()
		}
	}))
	defer s.Close()
	var text strings.Builder
	for i := range 5 {
		value := `{"n":1}`
		line, _ := json.Marshal(letter{Partition: 3, Offset: int64(70 + i), Value: &value})
		text.Write(append(line, '\n'))
	}
	code, out, errs := call(t, "dlq", "resend", "--input="+writeFile(t, text.String()), "--to="+s.URL)
	if code != 1 || posted.Load() != 2 || !strings.Contains(out, `"taken":1`) || !strings.Contains(out, `"refused":1`) || !strings.Contains(errs, "ended at partition 3, offset 71, and none behind it was sent") {
		t.Errorf("exit %d, %d posted: %s%s", code, posted.Load(), out, errs)
	}
}

// Letters of other programs: keys and values that are no text, times that no calendar has, headers twice or without a value.
func TestLettersOfOtherPrograms(t *testing.T) {
	for _, ms := range []int64{-1, math.MinInt64, math.MaxInt64, 0, 1_700_000_000_000} {
		for _, key := range []string{"", "k", "\xff\x00", "日志"} {
			c := &kafka.Consumed{At: 5}
			c.Timestamp, c.Key, c.Value = ms, []byte(key), []byte("\x00\xfe")
			c.Headers = []sink.Header{{Key: "ingest-reason"}, {Key: "\xff", Value: []byte("\xff")}, {Key: "ingest-reason", Value: []byte("refused")}}
			line, err := json.Marshal(letterOf(c))
			if err != nil {
				t.Errorf("%d %q: %v", ms, key, err)
				continue
			}
			var l letter
			if err := json.Unmarshal(line, &l); err != nil || string(l.key()) != key || string(l.bytes()) != "\x00\xfe" || l.Reason != "refused" || ms > 0 && ms < 1<<50 && l.Time.UnixMilli() != ms {
				t.Errorf("%d %q: %s, %v", ms, key, line, err)
			}
		}
	}
}
