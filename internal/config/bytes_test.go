package config

import (
	"strings"
	"testing"
)

func TestParseBytes(t *testing.T) {
	good := []struct {
		in   string
		want Bytes
		text string // how it prints
	}{
		{"0", 0, "0"},
		{"1", 1, "1B"},
		{"1023B", 1023, "1023B"},
		{"1024", 1024, "1KiB"},
		{"64MiB", 64 << 20, "64MiB"},
		{"64 MiB", 64 << 20, "64MiB"},
		{" 64mib ", 64 << 20, "64MiB"},
		{"1536KiB", 1536 << 10, "1536KiB"},
		{"2GiB", 2 << 30, "2GiB"},
		{"2048MiB", 2 << 30, "2GiB"},
		{"1KB", 1000, "1KB"},
		{"20MB", 20e6, "20MB"},
		{"3GB", 3e9, "3GB"},
		{"1000000", 1e6, "1MB"},
		{"9223372036854775807", 1<<63 - 1, "9223372036854775807B"},
		{"8589934591GiB", 8589934591 << 30, "8589934591GiB"},
	}
	for _, tt := range good {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseBytes(tt.in)
			if err != nil || got != tt.want {
				t.Fatalf("ParseBytes = %d, %v; want %d", got, err, tt.want)
			}
			if got.String() != tt.text {
				t.Errorf("prints as %q, want %q", got, tt.text)
			}
			if again, err := ParseBytes(got.String()); err != nil || again != got {
				t.Errorf("%q read again = %d, %v", got, again, err)
			}
		})
	}
	bad := []string{"", " ", "B", "-1", "+1", "1.5MiB", "64M", "64Mi", "64k", "1e3", "0x10", "1_000", "MiB", "64MiB64",
		"9223372036854775808", "8589934592GiB", "9223372036854776KB", "٣"}
	for _, in := range bad {
		t.Run("bad "+in, func(t *testing.T) {
			got, err := ParseBytes(in)
			if err == nil {
				t.Fatalf("ParseBytes = %d, want an error", got)
			}
			if !strings.Contains(err.Error(), "for example 64MiB") {
				t.Errorf("message does not say what is right: %v", err)
			}
		})
	}
}

func FuzzBytesRoundTrip(f *testing.F) {
	for _, n := range []int64{0, 1, 1000, 1024, 1 << 40, 1<<63 - 1} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		if n < 0 {
			return
		}
		if got, err := ParseBytes(Bytes(n).String()); err != nil || got != Bytes(n) {
			t.Errorf("%d prints as %s, which reads as %d, %v", n, Bytes(n), got, err)
		}
	})
}
