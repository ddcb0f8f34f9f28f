package platform

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

// spoken is a connection to a platform that says what it was told to once it hears anything.
type spoken struct {
	answer io.Reader
	heard  chan struct{}
	once   sync.Once
}

func (s *spoken) Read(p []byte) (int, error)       { <-s.heard; return s.answer.Read(p) }
func (s *spoken) Write(p []byte) (int, error)      { return len(p), s.Close() }
func (s *spoken) Close() error                     { s.once.Do(func() { close(s.heard) }); return nil }
func (s *spoken) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *spoken) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *spoken) SetDeadline(time.Time) error      { return nil }
func (s *spoken) SetReadDeadline(time.Time) error  { return nil }
func (s *spoken) SetWriteDeadline(time.Time) error { return nil }

const mostLine = 2000 // bytes of what an operator reads

// checkAnswers joins a platform that answers so, one connection after the other, and looks at what comes of it.
func checkAnswers(t *testing.T, answers ...[]byte) (Function, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dial := func(context.Context, string, string) (net.Conn, error) {
		if len(answers) == 0 {
			cancel() // or it would be tried for seconds
			return nil, errors.New("no more answers")
		}
		answer := answers[0]
		answers = answers[1:]
		return &spoken{answer: bytes.NewReader(answer), heard: make(chan struct{})}, nil
	}
	var said bytes.Buffer
	f, err := Join(ctx, Config{API: "platform:1", Name: "e.sh", Address: "127.0.0.1:8081", Path: "/", Types: []string{"function"}},
		Deps{Logger: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug})), Dial: dial})
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Advice == "" || e.Step == "" {
			t.Fatalf("no step or no advice: %#v", err)
		}
		oneLine(t, "the error", err.Error())
	}
	for line := range strings.Lines(said.String()) {
		oneLine(t, "a line of the log", strings.TrimSuffix(line, "\n"))
	}
	for _, text := range []string{f.Name, f.Version} {
		oneLine(t, "the function", text)
		if len(text) > maxName {
			t.Fatalf("the function has %d bytes: they go into the headers of records", len(text))
		}
	}
	return f, err
}

func oneLine(t *testing.T, what, text string) {
	t.Helper()
	if len(text) > mostLine || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Fatalf("%s is not one line of at most %d bytes: %.3000q", what, mostLine, text)
	}
}

func answered(status, body string) []byte {
	return []byte("HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\n\r\n" + body)
}

// A message of the platform that was as long as its answer stood in the log as it was, and a function's name went with
// every record.
func TestLongAnswersAreCut(t *testing.T) {
	long := strings.Repeat("ä\\u0000", 1000)
	f, err := checkAnswers(t, answered("200 OK", `{"functionName":"`+long+`","functionVersion":"`+long+`","errorInfo":{"errorType":"`+long+`","errorMessage":"`+long+`"}}`), answered("200 OK", ""))
	if err != nil || !strings.HasPrefix(f.Name, "ä") {
		t.Errorf("%q, %v", f.Name, err)
	}
	for _, body := range []string{`{"errorInfo":{"errorMessage":"` + long + `"}}`, `{"message":"` + long + `"}`, `{"error_msg":"` + long + `"}`, long, strings.Repeat("\x00\xff\n", 9000)} {
		if _, err := checkAnswers(t, answered("400 Bad Request", body)); err == nil || !strings.Contains(err.Error(), "400") {
			t.Error(err)
		}
		if _, err := checkAnswers(t, answered("200 OK", body), answered("500 Oh", body), answered("500 Oh", body)); err == nil {
			t.Error("500 is no error")
		}
	}
	if _, err := checkAnswers(t, []byte("HTTP/1.1 400 "+strings.Repeat("long", 50_000)+"\r\n\r\n")); err == nil {
		t.Error("400 is no error")
	}
	if _, err := checkAnswers(t, []byte(strings.Repeat("no HTTP \x1b[31m", 50_000))); err == nil {
		t.Error("no HTTP is no error")
	}
}

// Whatever the platform answers, in any bytes: no panic, and one line of bounded length that says what to do.
func FuzzPlatform(f *testing.F) {
	const headers = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
	for _, seed := range [][2][]byte{
		{answered("200 OK", registered), answered("200 OK", "")},
		{answered("200 OK", `{"functionName":5,"errorInfo":[]}`), answered("400 Bad Request", `{"message":"a\nb\u001b"}`)},
		{answered("500 Internal Server Error", "<html>"), answered("200 OK", registered)},
		{answered("302 Found\r\nLocation: http://other/", ""), nil},
		{[]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx"), []byte("HTTP/1.0 200\r\n\r\n{")},
		{[]byte("HTTP/1.1 200 OK\r\n" + headers + "\r\n5\r\n{\"a\":\r\n0\r\n\r\n"), []byte("\x15\x03\x01\x00\x02\x02\x46")},
		{[]byte("HTTP/1.1 404 Not Found\r\nX: " + strings.Repeat("y", 5000) + "\r\n\r\n"), []byte("HTTP/9.9 999 \xff\r\n\r\n")},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		synctest.Test(t, func(t *testing.T) { checkAnswers(t, first, second) }) // pauses take no time
	})
}
