package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// scan takes off a command line what pflag would end at, or misread, and says what is wrong with it, so that all
// mistakes are found at once: unknown flags, flags without a value, and flags that would take the next flag as their
// value, as in --topic $EMPTY --tls. Texts that may be a misplaced secret are not repeated.
func scan(args []string, flags *pflag.FlagSet) (rest, problems []string) {
	known := func(arg string) (f *pflag.Flag, name string, long, hasValue bool) {
		name, long = strings.CutPrefix(arg, "--")
		name, _, hasValue = strings.Cut(name, "=")
		return flags.Lookup(name), name, long && name != "", hasValue
	}
	for i := 0; i < len(args); i++ {
		f, name, long, hasValue := known(args[i])
		switch {
		case args[i] == "--":
			return append(rest, args[i:]...), problems
		case !long:
			rest = append(rest, args[i])
		case f == nil:
			problems = append(problems, unknownFlag(name, flags))
			if !hasValue && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++ // its value
			}
		case hasValue || f.NoOptDefVal != "":
			rest = append(rest, args[i])
		case i+1 == len(args):
			problems = append(problems, "--"+name+": needs a value")
		default:
			if next, _, _, _ := known(args[i+1]); next != nil && strings.HasPrefix(args[i+1], "--") {
				problems = append(problems, "--"+name+": needs a value; one that begins with dashes goes behind =")
				continue
			}
			rest = append(rest, args[i], args[i+1])
			i++
		}
	}
	return rest, problems
}

func unknownFlag(name string, flags *pflag.FlagSet) string {
	if !isName(name) {
		return "unknown flag: its name is not shown, because it may be a secret"
	}
	var names []string
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return "unknown flag --" + name + didYouMean("--"+name, names)
}

// isName reports whether a word looks like the name of a setting. Others are not repeated in messages.
func isName(s string) bool {
	const most = 40
	return s != "" && s[0] != '-' && len(s) <= most && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// flagError is what is left of pflag's errors, in our words: those of short flags and of the commands' own flags.
func flagError(err error) error {
	var unknown *pflag.NotExistError
	var bad *pflag.InvalidValueError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case errors.As(err, &syntax): // not its text: that is the whole argument, which may hold a password
		return errors.New("a flag begins with one or two dashes and a letter")
	case errors.As(err, &unknown):
		return fmt.Errorf("unknown flag -%s: settings begin with two dashes", unknown.GetSpecifiedName())
	case errors.As(err, &bad) && errors.Is(err, strconv.ErrSyntax):
		return fmt.Errorf("--%s: expected a whole number but got %q", bad.GetFlag().Name, bad.GetValue())
	case errors.As(err, &bad):
		return fmt.Errorf("--%s: %w", bad.GetFlag().Name, bad.Unwrap())
	}
	return err
}

// checkArguments looks at what is no flag: a group needs a command, spool's commands need a directory. What is too
// much is not repeated: it may be the password of "--sasl-password= PASSWORD".
func (c *command) checkArguments(args []string) error {
	if c.isGroup() {
		var names []string
		for _, child := range c.children() {
			names = append(names, child.name[strings.LastIndexByte(child.name, ' ')+1:])
		}
		expected := fmt.Sprintf("expected one of \"%s\"", strings.Join(names, `", "`))
		if len(args) > 0 {
			if guess := didYouMean(args[0], names); guess != "" {
				return errors.New("unknown command" + guess)
			}
			return errors.New("unknown command: " + expected)
		}
		return errors.New(expected)
	}
	switch takes := len(strings.Fields(c.args)); {
	case len(args) > takes && len(args) == takes+1:
		return errors.New("an argument belongs to no flag; it is not shown, because it may be a secret. The value of a flag stands behind = or one blank")
	case len(args) > takes:
		return fmt.Errorf("%d arguments belong to no flag; they are not shown, because they may be secrets. The value of a flag stands behind = or one blank", len(args)-takes)
	case len(args) < takes:
		return fmt.Errorf("expected %q", c.args)
	}
	return nil
}

// didYouMean offers the most similar of names, if there is one.
func didYouMean(word string, names []string) string {
	if best := nearest(word, names); best != "" {
		return fmt.Sprintf(", did you mean %q?", best)
	}
	return ""
}

// nearest is the most similar of names; "" when none is similar.
func nearest(word string, names []string) string {
	const longest = 64 // no name is longer, and the work grows with the product
	if len(word) > longest {
		return ""
	}
	best, least := "", 2+len(word)/4
	for _, name := range names {
		if d := distance(word, name); d < least {
			best, least = name, d
		}
	}
	return best
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
