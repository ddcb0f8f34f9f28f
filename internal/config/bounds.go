package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Setting is one entry of the declaration, for code that lists settings: tests, completion, the manual page.
type Setting struct {
	Name, Env   string
	Help        string   // one line, ending in a full stop
	Group       string   // its title in the help
	Type        string   // bool, NUMBER, DURATION, SIZE, LIST, or what stands for the value
	Values      []string // all values that are allowed; nil: any
	Default     string   // as a user writes it; of ingest serve where commands differ
	Min, Max    string   // the bounds, both allowed; "": none
	Also        string   // a value outside of them that is allowed too; "": none
	Negatable   bool     // there is --no-NAME as well
	Secret      bool     // its value must not be shown
	Repeatable  bool     // a list: given again it grows
	FileOrDir   string   // "file", "dir" or "": what the value names
	InExtension bool     // it matters to ingest extension only
}

// Settings lists the declaration in its order.
func Settings() []Setting {
	var c Config
	defaults := commandDefaults(Serve, Host{})
	var list []Setting
	for _, f := range c.fields() {
		v := value{field: &f}
		s := Setting{
			Name: f.name, Env: f.env, Help: f.help, Group: groupTitle(f.group), Type: v.Type(), Values: f.oneof,
			Default: f.defaultOf(defaults), Min: f.min, Max: f.max, Also: f.also, Negatable: f.negatable, FileOrDir: f.names,
			InExtension: f.group == "extension",
		}
		_, s.Secret = f.value.Interface().(Secret)
		_, s.Repeatable = f.value.Interface().([]string)
		list = append(list, s)
	}
	return list
}

// checkBounds holds every number, size and duration against the bounds of its declaration. They are the only
// ones: what the parts refuse beyond them is a fault of this table, and a test of cmd/ingest tries each. It returns
// the settings that are beyond theirs.
func (c *Config) checkBounds(p *Problems) (beyond []string) {
	for _, f := range c.fields() {
		if f.min == "" {
			continue
		}
		n := f.value.Int()
		if low, high := f.bound(f.min), f.bound(f.max); n >= low && n <= high || f.also != "" && n == f.bound(f.also) {
			continue
		}
		p.add(f.name, f.text(), "must be "+f.allowed())
		beyond = append(beyond, f.name)
	}
	return beyond
}

// allowed says what the bounds allow.
func (f *field) allowed() string {
	words := "from " + f.min + " to " + f.max
	switch {
	case f.also == "":
	case strings.HasPrefix(f.doc, f.also+":"):
		words += ", or " + f.doc
	default:
		words += ", or " + f.also
	}
	return words
}

// bound reads a bound as the setting itself is read.
func (f *field) bound(text string) int64 {
	v := value{field: &field{name: f.name, value: reflect.New(f.value.Type()).Elem()}}
	if err := v.read(text); err != nil {
		panic(fmt.Sprintf("config: a bound of --%s: %v", f.name, err))
	}
	return v.value.Int()
}
