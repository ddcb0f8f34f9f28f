package tlsconf

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/internal/tlsconf/tlstest"
)

// counting counts what is read of a connection.
type counting struct {
	net.Conn
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}

// recording keeps what is read of a connection.
type recording struct {
	net.Conn
	got bytes.Buffer
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.got.Write(p[:n])
	return n, err
}

// handshakeRecords encrypts records of handshake messages for a client of TLS 1.2 that has sent nothing since its
// handshake. Package tls has no way to send one.
func handshakeRecords(t *testing.T, keyLog string, fromServer []byte) func(data []byte) []byte {
	t.Helper()
	words := strings.Fields(keyLog) // CLIENT_RANDOM random secret
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	serverRandom := fromServer[11 : 11+32] // behind the headers of record and message, and the version
	seed := bytes.Join([][]byte{[]byte("key expansion"), serverRandom, unhex(words[1])}, nil)
	sum := func(data ...[]byte) []byte { // RFC 5246 section 5
		h := hmac.New(sha256.New, unhex(words[2]))
		for _, d := range data {
			h.Write(d)
		}
		return h.Sum(nil)
	}
	var keys []byte
	for a := sum(seed); len(keys) < 2*16+2*4; a = sum(a) {
		keys = append(keys, sum(a, seed)...)
	}
	block, err := aes.NewCipher(keys[:16])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0) // that of Finished
	return func(data []byte) []byte {
		seq++
		const handshake = 22
		number := binary.BigEndian.AppendUint64(nil, seq)
		header := []byte{handshake, 3, 3}
		sealed := gcm.Seal(nil, append(bytes.Clone(keys[32:36]), number...), data,
			binary.BigEndian.AppendUint16(append(bytes.Clone(number), header...), uint16(len(data))))
		record := binary.BigEndian.AppendUint16(header, uint16(len(number)+len(sealed)))
		return append(append(record, number...), sealed...)
	}
}

// Behind the handshake package tls takes further messages of it, and keeps up to 256 KiB of one until it is whole.
func TestMessagesBehindTheHandshakeAreBounded(t *testing.T) {
	pair := tlstest.SelfSigned(t, "localhost")
	s, err := NewServer(ServerSettings{Cert: []string{tlstest.Write(t, "both.pem", pemOf(pair))}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	deadline := time.Now().Add(30 * time.Second)
	_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
	raw := &counting{Conn: a}
	shaken, done := make(chan int, 1), make(chan error, 1)
	go func() {
		defer a.Close()
		conn := s.Secure(raw)
		err := conn.Handshake()
		shaken <- raw.n
		if err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
		done <- err
	}()
	var keyLog bytes.Buffer
	client := &recording{Conn: b}
	conn := tls.Client(client, &tls.Config{
		InsecureSkipVerify: true, KeyLogWriter: &keyLog, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	began := <-shaken
	record := handshakeRecords(t, keyLog.String(), client.got.Bytes())
	const certificate, long = 11, 250 << 10
	message := append([]byte{certificate, long >> 16, long >> 8 & 0xff, long & 0xff}, make([]byte, long-1)...) // a byte is missing
	go func() {
		for rest := message; len(rest) > 0; {
			n := min(len(rest), 16<<10)
			if _, err := b.Write(record(rest[:n])); err != nil {
				return
			}
			rest = rest[n:]
		}
		_ = b.Close()
	}()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	err = <-done
	if n := raw.n - began; err == nil || n > maxHandshake+maxHandshake/2 {
		t.Errorf("%d bytes were read: %v", n, err)
	}
	_ = b.Close()
}
