package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// A frozen broker takes connections and bytes, reads none of them, answers nobody, and goes on afterwards where it stood.
func TestFreezerHoldsBothWays(t *testing.T) {
	f := newFreezer()
	ln, err := f.listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	read, served := make(chan byte, 9), make(chan struct{})
	go func() {
		defer close(served)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for b := make([]byte, 1); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
			read <- b[0]
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	echo := func() string {
		b := make([]byte, 1)
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if _, err := c.Write([]byte("a")); err != nil || echo() != "a" || f.frozen() || f.wasFrozen() {
		t.Fatalf("it does not work: %v", err)
	}
	<-read
	thaw := f.freeze()
	if _, err := c.Write([]byte("b")); err != nil || !f.frozen() {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes from a frozen broker", n)
	}
	if len(read) > 0 {
		t.Error("a frozen broker reads")
	}
	thaw()
	thaw()
	if got := echo(); got != "b" || f.frozen() || !f.wasFrozen() {
		t.Errorf("after the thaw: %q", got)
	}
	c.Close()
	<-served
}

func TestOutage(t *testing.T) {
	for run, want := range map[time.Duration][2]time.Duration{
		15 * time.Second: {5 * time.Second, 4 * time.Second}, 1500 * time.Millisecond: {500 * time.Millisecond, 400 * time.Millisecond},
		time.Minute: {20 * time.Second, 4 * time.Second},
	} {
		if from, length := outage(run); from != want[0] || length != want[1] {
			t.Errorf("%v: %v for %v", run, from, length)
		}
	}
}
