package cutproxy_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"functiongraph-ingest/test/cutproxy"
)

// echo is a broker that answers every frame with the same frame.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func start(t *testing.T, target string) *cutproxy.Proxy {
	t.Helper()
	p, err := cutproxy.New(target, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *cutproxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// ask sends one request and reads the answer.
func ask(c net.Conn, key int16, body []byte) ([]byte, error) {
	request := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	request = binary.BigEndian.AppendUint16(request, uint16(key))
	request = binary.BigEndian.AppendUint16(request, 0) // the version
	request = append(request, body...)
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	answer := make([]byte, len(request))
	_, err := io.ReadFull(c, answer)
	return answer[8:], err
}

func TestBytesPassUnchanged(t *testing.T) {
	p := start(t, echo(t))
	c := dial(t, p)
	for size := range 300 {
		body := make([]byte, size*size)
		for i := range body {
			body[i] = byte(i * size)
		}
		got, err := ask(c, 3, body)
		if err != nil || string(got) != string(body) {
			t.Fatalf("%d bytes: %d back, %v", len(body), len(got), err)
		}
	}
	if s := p.Stats(); s.Answers != 300 || s.Connections != 1 || s.Cuts != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestCutSwallowsAShareOfTheAnswers(t *testing.T) {
	p := start(t, echo(t))
	p.Set(cutproxy.Faults{Cut: 0.2, CutKeys: []int16{cutproxy.KeyProduce}})
	const asked = 500
	cuts := 0
	var c net.Conn
	for range asked {
		if c == nil {
			c = dial(t, p)
		}
		if _, err := ask(c, 3, []byte("metadata")); err != nil {
			t.Fatalf("an answer that is not to be cut: %v", err)
		}
		if _, err := ask(c, cutproxy.KeyProduce, []byte("produce")); err != nil {
			cuts++
			c = nil
		}
	}
	s := p.Stats()
	if s.Cuts != int64(cuts) || s.CutsByKey[cutproxy.KeyProduce] != int64(cuts) || s.Answers != 2*asked {
		t.Errorf("%d answers missing, stats %+v", cuts, s)
	}
	// The seed is fixed: 20 % of 500 within four standard deviations, for ever the same.
	if cuts < 65 || cuts > 135 {
		t.Errorf("%d of %d answers cut, want about 100", cuts, asked)
	}
}

func TestRefuseAndCutAll(t *testing.T) {
	p := start(t, echo(t))
	c := dial(t, p)
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial while refusing: %v", err)
	}
	if _, err := ask(c, 0, nil); err != nil {
		t.Errorf("an open connection while refusing: %v", err)
	}
	p.CutAll()
	if _, err := ask(c, 0, nil); err == nil {
		t.Error("a connection lived through CutAll")
	}
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(dial(t, p), 0, nil); err != nil {
		t.Errorf("after refusing: %v", err)
	}
}

func TestBrokerAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := l.Addr().String()
	_ = l.Close()
	p := start(t, target)
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // the reset may be quicker than the dial's return
		if _, err := ask(c, 0, nil); err == nil {
			t.Error("an answer without a broker")
		}
		_ = c.Close()
	}
	p.SetTarget(echo(t))
	if _, err := ask(dial(t, p), 0, nil); err != nil {
		t.Errorf("after SetTarget: %v", err)
	}
}
