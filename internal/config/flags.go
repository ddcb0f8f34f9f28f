package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// value makes a setting a flag.
type value struct {
	*field
	config *Config // takes problems and sources
	given  bool    // by the command line or the environment: weaker sources do not count
}

// Type is what the help calls the value.
func (v *value) Type() string {
	if v.placeholder != "" {
		return v.placeholder
	}
	if v.oneof != nil {
		return strings.Join(v.oneof, "|")
	}
	if v.names != "" {
		return strings.ToUpper(v.names)
	}
	switch v.value.Interface().(type) {
	case bool:
		return "bool"
	case int:
		return "NUMBER"
	case time.Duration:
		return "DURATION"
	case Bytes:
		return "SIZE"
	case []string:
		return "LIST"
	default:
		return "TEXT"
	}
}

// String is the value as a user writes it; secrets are masked.
func (v *value) String() string { return v.text() }

// Set reads a value of the command line. A list that is given again grows. What cannot be read is a problem among
// others, not an error that would end pflag's work.
func (v *value) Set(text string) error {
	list, isList := v.value.Interface().([]string)
	if err := v.read(text); err != nil {
		v.config.found = append(v.config.found, fmt.Sprintf("--%s: %v", v.name, err))
		return nil
	}
	if isList && v.given {
		*v.value.Addr().Interface().(*[]string) = append(list, splitList(text)...)
	}
	v.given = true
	v.config.sources[v.name] = "--" + v.name
	return nil
}

// read replaces the value, or leaves it when the text cannot be read. All sources come through here.
func (v *value) read(text string) error {
	switch p := v.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *[]string:
		*p = splitList(text)
	case *bool:
		return assign(p)(readBool(text))
	case *int:
		return assign(p)(readInt(text))
	case *Bytes:
		return assign(p)(ParseBytes(text))
	case *time.Duration:
		return assign(p)(v.readDuration(text))
	default:
		panic("config: --" + v.name + " has a type that is not read")
	}
	return nil
}

func assign[T any](p *T) func(T, error) error {
	return func(v T, err error) error {
		if err == nil {
			*p = v
		}
		return err
	}
}

func (v *value) readDuration(text string) (time.Duration, error) {
	auto := ""
	if v.auto {
		if text == "auto" {
			return lingerAuto, nil
		}
		auto = ", or auto,"
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("expected a duration, for example 5ms%s but got %q", cmp.Or(auto, ","), text)
	}
	return d, nil
}

func readInt(text string) (int, error) {
	n, err := strconv.ParseInt(text, 0, strconv.IntSize)
	if err != nil {
		return 0, fmt.Errorf("expected a whole number but got %q", text)
	}
	return int(n), nil
}

func readBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1", "yes":
		return true, nil
	case "false", "0", "no":
		return false, nil
	}
	return false, fmt.Errorf("expected true, 1, yes, false, 0 or no but got %q", text)
}

// splitList separates at commas; blanks around them do not count, as in Kafka's own lists.
func splitList(text string) []string {
	if text == "" {
		return nil
	}
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// negation is --no-x of a setting x that is true by default.
type negation struct{ *value }

// Set gives the setting the opposite.
func (n negation) Set(text string) error {
	yes, err := readBool(text)
	if err != nil {
		n.config.found = append(n.config.found, fmt.Sprintf("--no-%s: %v", n.name, err))
		return nil
	}
	return n.value.Set(strconv.FormatBool(!yes))
}

// Type is that of a switch.
func (negation) Type() string { return "bool" }

// addTo declares the flag, in the group of its tag.
func (v *value) addTo(flags *pflag.FlagSet) {
	add := func(value pflag.Value, name, help string) {
		f := flags.VarPF(value, name, "", help)
		f.Annotations = map[string][]string{groupKey: {v.group}}
		if value.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	add(v, v.name, v.words())
	if v.negatable {
		add(negation{v}, "no-"+v.name, "The opposite of --"+v.name+".")
	}
}

// fromFile takes settings that are not given from the file named path.
func (c *Config) fromFile(values []*value, file map[string]yamlValue, path string) {
	for _, v := range values {
		y, ok := file[v.name]
		if !ok || v.given {
			continue
		}
		if err := v.read(y.text); err != nil {
			c.found = append(c.found, fmt.Sprintf("--%s: %s:%d: %v", v.name, path, y.line, err))
			continue
		}
		c.sources[v.name] = fmt.Sprintf("%s:%d", path, y.line)
	}
}

// setDefaults gives every setting the default of a command.
func setDefaults(values []*value, flags *pflag.FlagSet, defaults map[string]string) {
	for _, v := range values {
		text := v.defaultOf(defaults)
		flags.Lookup(v.name).DefValue = text
		if v.given || text == "" {
			continue
		}
		if err := v.read(text); err != nil {
			panic("config: the default of --" + v.name + ": " + err.Error())
		}
	}
}
