//go:build unix

package rawconn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/pkg/rawconn"
)

// pair returns both ends of a connection; the first one is a Conn.
func pair(tb testing.TB) (*rawconn.Conn, *net.TCPConn) {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	d := rawconn.Dialer{Timeout: 10 * time.Second}
	c, err := d.DialContext(context.Background(), "tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _, _ = c.Close(), peer.Close() })
	deadline := time.Now().Add(30 * time.Second)
	_, _ = c.SetDeadline(deadline), peer.SetDeadline(deadline)
	return c.(*rawconn.Conn), peer.(*net.TCPConn)
}

// Whatever the sizes, what is written arrives. The small send buffer makes writes wait in their middle.
func TestEcho(t *testing.T) {
	c, peer := pair(t)
	_ = c.SetWriteBuffer(8 << 10)
	go func() { _, _ = io.Copy(peer, peer); _ = peer.CloseWrite() }() // ends with the connection
	var want bytes.Buffer
	sizes := []int{1, 100, 64 << 10, 64<<10 + 1, 300 << 10}
	for i := range 300 { // more than the calls between two ordinary ones
		sizes = append(sizes, 1+i*i)
	}
	for i, n := range sizes {
		want.Write(bytes.Repeat([]byte{byte(i)}, n))
	}
	sent := bytes.Clone(want.Bytes())
	failed := make(chan error, 1)
	go func() {
		for _, n := range sizes {
			if wrote, err := c.Write(sent[:n]); err != nil || wrote != n {
				failed <- errors.Join(err, errors.New("a short write"))
				return
			}
			sent = sent[n:]
		}
		failed <- c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d bytes came back, %d were sent", len(got), want.Len())
	}
}

func TestEndOfFile(t *testing.T) {
	c, peer := pair(t)
	_ = peer.Close()
	if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}

func TestNothingToDo(t *testing.T) {
	c, _ := pair(t)
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
}

// Errors are those of package net: callers ask whether they are timeouts, and log them.
func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *rawconn.Conn, peer *net.TCPConn) error
		is   error
		op   string
	}{
		{"read deadline", func(c *rawconn.Conn, _ *net.TCPConn) error {
			_ = c.SetReadDeadline(time.Unix(1, 0))
			_, err := c.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded, "read"},
		{"deadline of a read under way", func(c *rawconn.Conn, _ *net.TCPConn) error {
			_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded, "read"},
		{"write deadline", func(c *rawconn.Conn, _ *net.TCPConn) error {
			_ = c.SetWriteDeadline(time.Unix(1, 0))
			_, err := c.Write([]byte("x"))
			return err
		}, os.ErrDeadlineExceeded, "write"},
		{"closed", func(c *rawconn.Conn, _ *net.TCPConn) error {
			_ = c.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		}, net.ErrClosed, "read"},
		{"reset", func(c *rawconn.Conn, peer *net.TCPConn) error {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		}, syscall.ECONNRESET, "read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(pair(t))
			var op *net.OpError
			if !errors.Is(err, tt.is) || !errors.As(err, &op) || op.Op != tt.op {
				t.Errorf("%#v", err)
			}
			if want := tt.is == os.ErrDeadlineExceeded; op != nil && op.Timeout() != want {
				t.Errorf("timeout %v", !want)
			}
		})
	}
}

// A full socket: the write waits, and its deadline says how much was written.
func TestShortWrite(t *testing.T) {
	c, peer := pair(t)
	block := make([]byte, 32<<10)
	total := 0
	_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	var err error
	for err == nil {
		var n int
		n, err = c.Write(block)
		total += n
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	_ = c.CloseWrite()
	if n, err := io.Copy(io.Discard, peer); err != nil || n != int64(total) {
		t.Errorf("%d arrived, %d written: %v", n, total, err)
	}
}

func TestAllocations(t *testing.T) {
	c, peer := pair(t)
	buf, back := make([]byte, 100), make([]byte, 100)
	if n := testing.AllocsPerRun(200, func() {
		_, _ = peer.Write(buf)
		if _, err := io.ReadFull(c, back); err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(back)
		_, _ = io.ReadFull(peer, back)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
