package cutproxy

import (
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// pipes runs a link over in-memory connections, on the clock of the bubble.
func pipes(t *testing.T, f Faults) (client, broker net.Conn, p *Proxy) {
	t.Helper()
	p = &Proxy{faults: f, stats: Stats{CutsByKey: map[int16]int64{}}, flowing: make(chan struct{})}
	close(p.flowing)
	client, clientSide := net.Pipe()
	brokerSide, broker := net.Pipe()
	l := newLink(p, clientSide, brokerSide)
	done := make(chan struct{})
	go func() {
		l.run()
		close(done)
	}()
	t.Cleanup(func() {
		l.close(false)
		<-done
	})
	return client, broker, p
}

func frame(key int16, body int) []byte {
	b := make([]byte, 4+2+body)
	binary.BigEndian.PutUint32(b, uint32(2+body))
	binary.BigEndian.PutUint16(b[4:], uint16(key))
	return b
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, broker, _ := pipes(t, Faults{Latency: 3 * time.Second})
		start := time.Now()
		request := frame(KeyProduce, 100)
		go func() { _, _ = client.Write(request) }()
		if _, err := io.ReadFull(broker, make([]byte, len(request))); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("one way took %v, want 3s", got)
		}
	})
}

func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, broker, _ := pipes(t, Faults{BytesPerSecond: 100_000})
		start := time.Now()
		request := frame(KeyProduce, 1_000_000-6)
		go func() { _, _ = client.Write(request) }()
		if _, err := io.ReadFull(broker, make([]byte, len(request))); err != nil {
			t.Fatal(err)
		}
		if got := time.Since(start).Round(time.Millisecond); got != 10*time.Second {
			t.Errorf("1,000,000 bytes at 100,000 bytes/s took %v, want 10s", got)
		}
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, broker, p := pipes(t, Faults{})
		p.Pause()
		request := frame(KeyProduce, 10)
		go func() { _, _ = client.Write(request) }()
		if err := broker.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if n, err := broker.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%d bytes came through a pause, %v", n, err)
		}
		p.Resume()
		_ = broker.SetReadDeadline(time.Time{})
		if _, err := io.ReadFull(broker, make([]byte, len(request))); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}
