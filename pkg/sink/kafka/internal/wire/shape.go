package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// shape is the layout of a value on the wire in one version, as kafka-go's decoder reads it. It is derived from the
// same struct tags (`kafka:"min=v0,max=v8,nullable"`), so the two cannot disagree about a field.
type shape struct {
	kind    kind
	min     int     // fewest bytes on the wire
	mem     int     // bytes of the Go value itself, without what it points to
	compact bool    // lengths are varints (KIP-482)
	parts   []shape // a record's fields; a list's element
}

type kind uint8

const (
	fixed  kind = iota // min bytes
	text               // a string
	blob               // bytes
	list               // of parts[0]
	record             // parts, and tagged fields when compact
)

// shapeOf returns the shape of a response type, and whether its header has tagged fields too.
func shapeOf(t reflect.Type, version int16) (s shape, flexible bool) {
	for i := range t.NumField() {
		for alternative := range strings.SplitSeq(t.Field(i).Tag.Get("kafka"), "|") {
			if tag := parseTag(alternative); tag.tagged && version >= tag.min {
				flexible = true
			}
		}
	}
	return shapeOfType(t, version, flexible), flexible
}

func shapeOfType(t reflect.Type, version int16, compact bool) shape {
	s := shape{mem: int(t.Size()), compact: compact}
	length := func(plain int) int {
		if compact {
			return 1
		}
		return plain
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Float64:
		s.kind, s.min = fixed, int(t.Size())
	case reflect.String:
		s.kind, s.min = text, length(2)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			s.kind, s.min = blob, length(4)
			break
		}
		s.kind, s.min = list, length(4)
		s.parts = []shape{shapeOfType(t.Elem(), version, compact)}
	case reflect.Struct:
		s.kind = record
		for i := range t.NumField() {
			f := t.Field(i)
			if f.PkgPath != "" || !inVersion(f.Tag.Get("kafka"), version) {
				continue
			}
			part := shapeOfType(f.Type, version, compact)
			s.min += part.min
			if n := len(s.parts); n > 0 && part.kind == fixed && s.parts[n-1].kind == fixed {
				s.parts[n-1].min += part.min // one step over neighbours
				continue
			}
			s.parts = append(s.parts, part)
		}
		if compact {
			s.min++
		}
	default:
		panic("wire: kafka-go decodes no " + t.String())
	}
	return s
}

type fieldTag struct {
	min, max int16 // -1: in no version
	tagged   bool
}

// parseTag reads one alternative of a field's tag. kafka-go has checked the syntax when it was loaded.
func parseTag(s string) fieldTag {
	f := fieldTag{min: -1, max: -1}
	for option := range strings.SplitSeq(s, ",") {
		name, value, _ := strings.Cut(option, "=v")
		switch n, _ := strconv.Atoi(value); {
		case name == "min":
			f.min = int16(n)
		case name == "max":
			f.max = int16(n)
		case name == "tag":
			f.tagged = true
		}
	}
	return f
}

func inVersion(tag string, version int16) bool {
	for alternative := range strings.SplitSeq(tag, "|") {
		if f := parseTag(alternative); f.min <= version && version <= f.max {
			return true
		}
	}
	return false
}

// checkAnswer reports what is wrong with an answer's body, which begins after the correlation id.
func checkAnswer(body []byte, s *shape, flexible bool) error {
	c := checker{rest: body, mem: s.mem}
	if flexible && !c.tags() {
		return c.fault()
	}
	if !c.walk(s) {
		return c.fault()
	}
	if len(c.rest) > 0 {
		return fmt.Errorf("%d bytes are left over", len(c.rest))
	}
	return nil
}

// checker walks over an answer. Its methods report whether all is well so far.
type checker struct {
	rest []byte
	mem  int // that kafka-go allocates
	err  error
}

var errCut = errors.New("it ends in the middle of a value")

func (c *checker) fault() error {
	if c.err != nil {
		return c.err
	}
	return errCut
}

func (c *checker) walk(s *shape) bool {
	switch s.kind {
	case fixed:
		return c.skip(s.min)
	case text, blob:
		n, ok := c.length(s)
		return ok && c.take(n) && c.skip(n)
	case list:
		return c.list(s)
	}
	for i := range s.parts {
		if !c.walk(&s.parts[i]) {
			return false
		}
	}
	return !s.compact || c.tags()
}

func (c *checker) list(s *shape) bool {
	n, ok := c.length(s)
	if !ok {
		return false
	}
	elem := &s.parts[0]
	if n > len(c.rest)/max(elem.min, 1) {
		c.err = fmt.Errorf("it announces %d elements in %d bytes", n, len(c.rest))
		return false
	}
	if !c.take(n * elem.mem) {
		return false
	}
	for range n {
		if !c.walk(elem) {
			return false
		}
	}
	return true
}

// length reads a length; null counts as 0.
func (c *checker) length(s *shape) (int, bool) {
	if s.compact {
		n, ok := c.varint()
		return max(n-1, 0), ok
	}
	var n int
	switch {
	case len(c.rest) < s.min:
		return 0, false
	case s.min == 2:
		n = int(int16(binary.BigEndian.Uint16(c.rest)))
	default:
		n = int(int32(binary.BigEndian.Uint32(c.rest)))
	}
	c.rest = c.rest[s.min:]
	if n < -1 {
		c.err = fmt.Errorf("a length of %d", n)
		return 0, false
	}
	return max(n, 0), true
}

// take counts n bytes of memory.
func (c *checker) take(n int) bool {
	if c.mem += n; c.mem > maxDecoded {
		c.err = fmt.Errorf("it would take more than %d MiB of memory", maxDecoded>>20)
		return false
	}
	return true
}

func (c *checker) skip(n int) bool {
	if n > len(c.rest) {
		return false
	}
	c.rest = c.rest[n:]
	return true
}

// tags passes over tagged fields. None has a meaning here, and kafka-go knows none either. It allocates each one to
// throw it away.
func (c *checker) tags() bool {
	n, ok := c.varint()
	for ; ok && n > 0; n-- {
		if _, ok = c.varint(); !ok {
			return false
		}
		var size int
		if size, ok = c.varint(); ok {
			ok = c.take(size) && c.skip(size)
		}
	}
	return ok
}

// varint reads an unsigned varint of at most 31 bits.
func (c *checker) varint() (int, bool) {
	x, n := binary.Uvarint(c.rest[:min(len(c.rest), 5)])
	if n <= 0 || x > 1<<31-1 {
		return 0, false
	}
	c.rest = c.rest[n:]
	return int(x), true
}
