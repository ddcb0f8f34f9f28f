package config

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// value makes a setting a flag.
type value struct {
	*field
	given bool // by the command line or the environment: weaker sources do not count
}

// Type is what the help calls the value.
func (v *value) Type() string {
	if v.placeholder != "" {
		return v.placeholder
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

// Set reads a value of the command line. A list that is given again grows.
func (v *value) Set(text string) error {
	list, isList := v.value.Interface().([]string)
	if err := v.read(text); err != nil {
		return err
	}
	if isList && v.given {
		*v.value.Addr().Interface().(*[]string) = append(list, splitList(text)...)
	}
	v.given = true
	return nil
}

// read replaces the value. All sources come through here.
func (v *value) read(text string) (err error) {
	switch p := v.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *Secret:
		*p = Secret(text)
	case *[]string:
		*p = splitList(text)
	case *bool:
		*p, err = readBool(text)
	case *int:
		*p, err = readInt(text)
	case *Bytes:
		*p, err = ParseBytes(text)
	case *time.Duration:
		*p, err = v.readDuration(text)
	default:
		panic("config: --" + v.name + " has a type that nobody reads")
	}
	return err
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

func splitList(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// negation is --no-x of a setting x that is true by default.
type negation struct{ *value }

// Set gives the setting the opposite.
func (n negation) Set(text string) error {
	yes, err := readBool(text)
	if err != nil {
		return err
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

// fromEnvironment reads the variables of settings that are not given.
func fromEnvironment(values []*value, lookup func(string) (string, bool)) error {
	for _, v := range values {
		text, ok := lookup(v.env)
		if !ok || v.given {
			continue
		}
		if err := v.read(text); err != nil {
			return fmt.Errorf("--%s: %w (from %s)", v.name, err, v.env)
		}
		v.given = true
	}
	return nil
}

// fromFile takes settings that are not given from the file named path.
func fromFile(values []*value, file map[string]yamlValue, path string) error {
	for _, v := range values {
		y, ok := file[v.name]
		if !ok || v.given {
			continue
		}
		if err := v.read(y.text); err != nil {
			return fmt.Errorf("--%s: %s:%d: %w", v.name, path, y.line, err)
		}
	}
	return nil
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

// flagError is pflag's error in our words.
func flagError(err error, flags *pflag.FlagSet) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &syntax): // not its text: that is the whole argument, which may hold a password
		return errors.New("a flag begins with one or two dashes and a letter")
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var names []string
		flags.VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
		name := "--" + unknown.GetSpecifiedName()
		return fmt.Errorf("unknown flag %s%s", name, didYouMean(name, names))
	case errors.As(err, &missing):
		return fmt.Errorf("--%s: needs a value", missing.GetFlag().Name)
	case errors.As(err, &bad) && errors.Is(err, strconv.ErrSyntax):
		return fmt.Errorf("--%s: expected a whole number but got %q", bad.GetFlag().Name, bad.GetValue())
	case errors.As(err, &bad):
		return fmt.Errorf("--%s: %w", bad.GetFlag().Name, bad.Unwrap())
	}
	return err
}

// didYouMean offers the most similar of names, if there is one.
func didYouMean(word string, names []string) string {
	best, least := "", 2+len(word)/4
	for _, name := range names {
		if d := distance(word, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is how many letters must be added, taken away or replaced to make a of b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// swallowed is the first flag that would take another flag as its value, as in --topic $EMPTY --tls. pflag lets it.
func swallowed(args []string, flags *pflag.FlagSet) string {
	isFlag := func(arg string) (f *pflag.Flag, hasValue bool) {
		name, long := strings.CutPrefix(arg, "--")
		name, _, hasValue = strings.Cut(name, "=")
		if !long || name == "" {
			return nil, false
		}
		return flags.Lookup(name), hasValue
	}
	for i := 0; i+1 < len(args) && args[i] != "--"; i++ {
		f, hasValue := isFlag(args[i])
		if f == nil || hasValue || f.NoOptDefVal != "" {
			continue
		}
		if next, _ := isFlag(args[i+1]); next != nil {
			return f.Name
		}
		i++ // its value
	}
	return ""
}
