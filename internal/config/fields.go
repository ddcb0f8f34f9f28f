package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// field is one setting, read from its tags.
type field struct {
	name, env, def, doc, group, help, placeholder string
	min, max, also                                string   // bounds, both allowed, and a value beyond them; "": none
	names                                         string   // what the value names: "file", "dir" or ""
	negatable                                     bool     // there is also --no-name
	auto                                          bool     // the duration may be auto
	oneof                                         []string // nil: any value
	value                                         reflect.Value
}

// fields lists all settings in the order of declaration. The values are c's own, not copies.
func (c *Config) fields() []field {
	v := reflect.ValueOf(c).Elem()
	var list []field
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		if tag.Get("name") == "" {
			continue // not a setting
		}
		f := field{
			name: tag.Get("name"), env: tag.Get("env"), def: tag.Get("default"), doc: tag.Get("doc"),
			group: tag.Get("group"), help: tag.Get("help"), placeholder: tag.Get("placeholder"), value: v.Field(i),
			min: tag.Get("min"), max: tag.Get("max"), also: tag.Get("also"), names: tag.Get("names"),
			negatable: tag.Get("negatable") != "", auto: tag.Get("type") == "auto",
		}
		if words := tag.Get("oneof"); words != "" {
			f.oneof = strings.Split(words, ",")
		}
		list = append(list, f)
	}
	return list
}

// text is a value the way a user writes it; secrets are masked, misplaced ones too.
func (f *field) text() string { return f.shown(f.plain()) }

func (f *field) plain() string {
	switch v := f.value.Interface().(type) {
	case time.Duration:
		return durationText(v)
	case []string:
		return strings.Join(v, ",")
	case interface{ String() string }:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

// durationText is d without the zero units that time.Duration prints: 5m, not 5m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// defaultOf is the default with those of a command.
func (f *field) defaultOf(defaults map[string]string) string {
	name, varies := strings.CutPrefix(f.def, "${")
	if !varies {
		return f.def
	}
	return defaults[strings.TrimSuffix(name, "}")]
}

// words is the help with the bounds in it.
func (f *field) words() string {
	if f.min == "" {
		return f.help
	}
	return fmt.Sprintf("%s From %s to %s.", f.help, f.min, f.max)
}
