package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. It reads B, KiB, MiB, GiB (powers of 1024) and KB, MB, GB (powers of 1000); a plain
// number is bytes. Fractions and bare letters (64M) are refused: they mean different things to different
// people.
type Bytes int64

// The units a size is written in.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	KB  Bytes = 1e3
	MB  Bytes = 1e6
	GB  Bytes = 1e9
)

type unit struct {
	name string
	size Bytes
}

// units is ordered for printing: the first one that divides a size exactly is used.
func units() []unit {
	return []unit{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"GB", GB}, {"MB", MB}, {"KB", KB}, {"B", 1}}
}

// ParseBytes reads a size. Case does not matter, and blanks between number and unit are allowed.
func ParseBytes(s string) (Bytes, error) {
	text := strings.TrimSpace(s)
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	if digits == 0 || err != nil {
		return 0, badSize(s)
	}
	name := strings.TrimSpace(text[digits:])
	if name == "" {
		return Bytes(n), nil
	}
	for _, u := range units() {
		if strings.EqualFold(u.name, name) {
			if n > math.MaxInt64/int64(u.size) {
				return 0, badSize(s)
			}
			return Bytes(n) * u.size, nil
		}
	}
	return 0, badSize(s)
}

func badSize(s string) error {
	return fmt.Errorf("size %q is not a whole number with B, KiB, MiB, GiB, KB, MB or GB, for example 64MiB", s)
}

// String is the shortest exact form that ParseBytes reads back.
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, u := range units() {
		if b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	panic("config: every size is divisible by 1")
}

// UnmarshalText makes Bytes a setting's type.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	if err == nil {
		*b = v
	}
	return err
}

// MarshalText is String for encoders.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }
