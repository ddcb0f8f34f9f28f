package test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"functiongraph-ingest/test/proc"
)

// startEcho is a broker that refuses every login and repeats in its error what it was told. A token is refused as RFC 7628
// says, after a second message; the error is so long that it is cut within the token.
func startEcho(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go echo(conn)
		}
	}()
	return ln.Addr().String()
}

// echo serves a connection until its end.
func echo(conn net.Conn) {
	defer conn.Close()
	var token []byte // of OAUTHBEARER
	for {
		var head [8]byte // length, API key, version; then the correlation id
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(head[:])
		if n < 8 || n > 1<<20 {
			return
		}
		rest := make([]byte, n-4)
		if _, err := io.ReadFull(conn, rest); err != nil {
			return
		}
		answer := answerTo(int16(binary.BigEndian.Uint16(head[4:])), int16(binary.BigEndian.Uint16(head[6:])), rest, &token)
		if answer == nil {
			return
		}
		frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(answer)))
		frame = append(append(frame, rest[:4]...), answer...)
		if _, err := conn.Write(frame); err != nil {
			return
		}
	}
}

// answerTo is the answer to a request, without its header; nil: it is not known.
func answerTo(key, version int16, rest []byte, token *[]byte) []byte {
	switch key {
	case 18: // ApiVersions
		r := kmsg.NewPtrApiVersionsResponse()
		for _, k := range []int16{3, 17, 18, 36} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: k, MaxVersion: 1})
		}
		return r.AppendTo(nil)
	case 17: // SaslHandshake
		r := kmsg.NewPtrSASLHandshakeResponse()
		r.SupportedMechanisms = []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}
		return r.AppendTo(nil)
	case 36: // SaslAuthenticate
		r := kmsg.NewPtrSASLAuthenticateResponse()
		r.SetVersion(version)
		if _, after, ok := bytes.Cut(rest, []byte("auth=Bearer ")); ok {
			*token, _, _ = bytes.Cut(after, []byte{1})
			r.SASLAuthBytes = []byte(`{"status":"invalid_token"}`)
			return r.AppendTo(nil)
		}
		text := fmt.Sprintf("refused: %q %s", rest, rest)
		if *token != nil {
			text = fmt.Sprintf("%180s: %s", "refused", *token)
		}
		r.ErrorCode, r.ErrorMessage = 58, &text
		return r.AppendTo(nil)
	}
	return nil
}

// A broker that refuses a token does not say why. The process does, by what the token says about itself, and so does
// check.
func TestARefusedTokenIsExplained(t *testing.T) {
	t.Parallel()
	brokers := startEcho(t)
	for name, tt := range map[string]struct {
		payload string
		words   []string
	}{
		"a wrong audience": {`{"aud":"billing","iss":"login.example"}`, []string{`issuer "login.example", audience "billing"`, "put another token into --oauth-token-file"}},
		"an ended one":     {`{"aud":"kafka","exp":1700000000}`, []string{"which ended at 2023-11-14T22:13:20Z", "put a new token into --oauth-token-file"}},
	} {
		t.Run(name, func(t *testing.T) {
			b64 := base64.RawURLEncoding.EncodeToString
			file := filepath.Join(t.TempDir(), "token")
			must(t, os.WriteFile(file, []byte(b64([]byte(`{"alg":"RS256"}`))+"."+b64([]byte(tt.payload))+".c2ln\n"), 0o600))
			args := []string{"--sasl-mechanism=OAUTHBEARER", "--oauth-token-file=" + file}
			p := proc.StartUnready(t, proc.Serve(proc.Build(t), brokers, "t", args...))
			awaitSeen(t, "the reason in /readyz", func() bool {
				_, text, err := p.Get("/readyz")
				return err == nil && strings.Contains(string(text), tt.words[0]) && strings.Contains(string(text), tt.words[1])
			})
			awaitSeen(t, "the warning", func() bool {
				return lines(p, "level=WARN", "events do not reach Kafka", strings.ReplaceAll(tt.words[0], `"`, `\"`), tt.words[1]) == 1
			})
			code, stdout, stderr := checked(t, append(args, "--brokers="+brokers, "--topic=t", "--request-timeout=5s")...)
			for _, word := range tt.words {
				if code != 1 || !strings.Contains(stdout+stderr, word) {
					t.Errorf("check says, with %d and without %q:\n%s%s", code, word, stdout, stderr)
				}
			}
		})
	}
}
