package decode

// Kind is what an event is about: the value of its `name`, compared without regard to case, stray
// blanks and a trailing comma, all of which the platform's own reference prints.
type Kind uint8

// The kinds of the telemetry protocol. Any other name, and none at all, is Unknown: such an event is
// as good as any other.
const (
	Unknown Kind = iota
	InitStart
	Start
	RestoreStart
	InitRuntimeDone
	RuntimeDone
	RestoreRuntimeDone
	InitReport
	Report
	RestoreReport
	Function
	Extension
)

// Name is the name in its canonical spelling, "" for Unknown.
func (k Kind) Name() string {
	if k == Unknown {
		return ""
	}
	return k.String()
}

// String is the name in its canonical spelling, "unknown" for Unknown.
func (k Kind) String() string {
	switch k {
	case InitStart:
		return "platform.initStart"
	case Start:
		return "platform.start"
	case RestoreStart:
		return "platform.restoreStart"
	case InitRuntimeDone:
		return "platform.initRuntimeDone"
	case RuntimeDone:
		return "platform.runtimeDone"
	case RestoreRuntimeDone:
		return "platform.restoreRuntimeDone"
	case InitReport:
		return "platform.initReport"
	case Report:
		return "platform.report"
	case RestoreReport:
		return "platform.restoreReport"
	case Function:
		return "function"
	case Extension:
		return "extension"
	}
	return "unknown"
}

// kindOf takes the content of the name's string, still escaped. The exact spellings come first: a
// switch on a string compares lengths and words, the slow way allocates nothing either.
func kindOf(name []byte) Kind {
	switch string(name) {
	case "function":
		return Function
	case "extension":
		return Extension
	case "platform.report":
		return Report
	case "platform.start":
		return Start
	case "platform.runtimeDone", "platform.RuntimeDone":
		return RuntimeDone
	}
	return kindFold(name)
}

// maxFold bounds the names and keys that are unescaped before they are compared. None of the known
// ones is longer than 27 bytes; with every byte written as \u00xx and a few blanks they still fit.
const maxFold = 256

func kindFold(name []byte) Kind {
	var buf [maxFold]byte
	name = plain(name, buf[:0])
	for {
		n := len(name)
		if name = trim(name); len(name) > 0 && name[len(name)-1] == ',' {
			name = name[:len(name)-1]
		}
		if len(name) == n {
			break
		}
	}
	for k := InitStart; k <= Extension; k++ {
		if equalFold(name, k.String()) {
			return k
		}
	}
	return Unknown
}

// plain is s without escapes: s itself when it has none or is too long or too broken to matter.
func plain(s, dst []byte) []byte {
	if len(s) > maxFold || !hasEscape(s) {
		return s
	}
	if u, bad := unescape(dst, s); bad < 0 {
		return u
	}
	return s
}

// equalFold compares ASCII letters without regard to case. Unlike bytes.EqualFold it does not take
// the Kelvin sign for a k.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if b[i] != s[i] && lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c-'A' < 26 {
		c |= 0x20
	}
	return c
}
