package main

import (
	"io/fs"
	"syscall"
	"testing"
)

// A machine whose name or boot id cannot be read is not another one; one that has another of them is.
func TestAMachineThatCannotBeReadIsTheSame(t *testing.T) {
	for _, boot := range []struct {
		id  string
		err error
	}{{"boot 1", nil}, {"", fs.ErrNotExist}} {
		name, nameErr, id, idErr := "host", error(nil), boot.id, boot.err
		m := machine{
			hostname: func() (string, error) { return name, nameErr },
			read:     func(string) ([]byte, error) { return []byte(id), idErr },
		}
		first := m.tell()
		name, nameErr, id, idErr = "", syscall.EMFILE, "", syscall.EMFILE
		if now := m.tell(); now != first {
			t.Errorf("without descriptors: %q, not %q", now, first)
		}
		name, nameErr, id, idErr = "host", nil, boot.id, boot.err
		if now := m.tell(); now != first {
			t.Errorf("with descriptors again: %q, not %q", now, first)
		}
		if name = "other"; m.tell() == first {
			t.Error("another name is no other machine")
		}
		if name, id = "host", "boot 2"; boot.err == nil && m.tell() == first {
			t.Error("another boot id is no other machine")
		}
	}
}
