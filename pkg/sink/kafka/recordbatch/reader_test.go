package recordbatch

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	p := NewPool(32 * ChunkSize)
	b := p.NewBatch(8)
	fill(t, b, 100_000)
	b.Stamp(1, 2, 3)
	wire := b.AppendTo(nil)
	var r Reader
	for range 2 {
		r.Reset(b)
		if err := iotest.TestReader(onlyReader{&r}, wire); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("at the end: %d, %v", n, err)
		}
		r.Reset(b)
		if _, err := io.ReadFull(&r, make([]byte, ChunkSize+7)); err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		if n, err := r.WriteTo(&w); err != nil || n != int64(len(wire)-ChunkSize-7) || !bytes.Equal(w.Bytes(), wire[ChunkSize+7:]) {
			t.Fatalf("the rest: %d bytes, %v", n, err)
		}
	}
}

type onlyReader struct{ io.Reader }

func TestReaderPassesOnWriteErrors(t *testing.T) {
	b := NewPrivateBatch(100_000)
	fill(t, b, 50_000)
	var r Reader
	r.Reset(b)
	broken := errors.New("broken pipe")
	if n, err := r.WriteTo(&failingWriter{left: ChunkSize + 5, err: broken}); n != ChunkSize+5 || !errors.Is(err, broken) {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := b.WriteTo(shortWriter{}); n != ChunkSize-1 || !errors.Is(err, io.ErrShortWrite) {
		t.Fatalf("%d, %v", n, err)
	}
}

type failingWriter struct {
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		return w.left, w.err
	}
	w.left -= len(p)
	return len(p), nil
}

type shortWriter struct{}

func (shortWriter) Write(p []byte) (int, error) { return len(p) - 1, nil }

func TestAbandonedReader(t *testing.T) {
	b := NewPrivateBatch(1000)
	fill(t, b, 300)
	check := func(r *Reader) {
		t.Helper()
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, ErrAbandoned) {
			t.Fatalf("Read: %d, %v", n, err)
		}
		if n, err := r.WriteTo(io.Discard); n != 0 || !errors.Is(err, ErrAbandoned) {
			t.Fatalf("WriteTo: %d, %v", n, err)
		}
	}
	var r Reader
	check(&r)
	r.Reset(b)
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	r.Abandon()
	check(&r)
	r.Abandon()
	check(&r)
}

// The hazard: kafka-go still reads while the call it belongs to has returned. After Abandon the chunks
// go to another batch; the race detector and the comparison see every byte that is read too late.
func TestAbandonWhileReading(t *testing.T) {
	p := NewPool(8 * ChunkSize)
	for round := range 100 {
		b := p.NewBatch(8)
		fill(t, b, 100_000)
		b.Stamp(int64(round), 0, 0)
		wire := b.AppendTo(nil)
		var r Reader
		r.Reset(b)
		w := &yieldingWriter{started: make(chan struct{}), done: make(chan struct{})}
		go func() {
			defer close(w.done)
			if round%2 == 0 {
				_, w.err = r.WriteTo(w)
			} else {
				_, w.err = io.CopyBuffer(struct{ io.Writer }{w}, onlyReader{&r}, make([]byte, 4000))
			}
		}()
		<-w.started
		for range round % 7 {
			runtime.Gosched()
		}
		r.Abandon()
		b.Release()
		next := p.NewBatch(8) // gets the same chunks
		for next.TryAppend(0, nil, bytes.Repeat([]byte{0xff}, 5000), nil) {
		}
		<-w.done
		if !bytes.HasPrefix(wire, w.got.Bytes()) {
			t.Fatal("the reader gave bytes of another batch")
		}
		if w.got.Len() != len(wire) && !errors.Is(w.err, ErrAbandoned) {
			t.Fatalf("%d of %d bytes and %v", w.got.Len(), len(wire), w.err)
		}
		next.Release()
	}
}

// yieldingWriter lets others run in the middle of a copy.
type yieldingWriter struct {
	got     bytes.Buffer
	started chan struct{}
	done    chan struct{}
	err     error
	writes  int
}

func (w *yieldingWriter) Write(p []byte) (int, error) {
	if w.writes++; w.writes == 2 {
		close(w.started)
	}
	half := len(p) / 2
	w.got.Write(p[:half])
	runtime.Gosched()
	w.got.Write(p[half:])
	return len(p), nil
}
