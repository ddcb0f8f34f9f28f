package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// yamlFile is the source of settings that neither the command line nor the environment gives. It is a
// kong.Resolver. Values stay text, so that all sources are read by the same code.
type yamlFile struct {
	path   string
	loaded bool
	values map[string]yamlValue
}

type yamlValue struct {
	text string
	line int
}

// Validate has nothing to add: load checks the keys.
func (y *yamlFile) Validate(*kong.Application) error { return nil }

// Resolve gives a flag's value from the file. Kong asks for all flags that are not on the command line,
// those from the environment included.
func (y *yamlFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	v, ok := y.values[flag.Name]
	if !ok || inEnvironment(flag) {
		return nil, nil
	}
	// Try the value here, where the line is known.
	scan := kong.Scan().PushTyped(v.text, kong.FlagValueToken)
	target := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, target); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", y.path, v.line, err)
	}
	return v.text, nil
}

func inEnvironment(flag *kong.Flag) bool {
	return slices.ContainsFunc(flag.Envs, func(name string) bool {
		_, ok := os.LookupEnv(name)
		return ok
	})
}

// load reads the file that --config names; without one there are no values. Kong calls it before it
// resolves, once for every word of the command line.
func (y *yamlFile) load(ctx *kong.Context) error {
	if y.loaded {
		return nil
	}
	y.loaded = true
	for _, f := range ctx.Flags() {
		if f.Name == "config" {
			y.path, _ = ctx.FlagValue(f).(string)
		}
	}
	if y.path == "" {
		return nil
	}
	text, err := os.ReadFile(y.path)
	if err != nil {
		return err
	}
	y.values, err = parseYAML(y.path, text)
	return err
}

// parseYAML reads one flat mapping. All errors begin with the file and the line.
func parseYAML(path string, text []byte) (map[string]yamlValue, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, syntaxError(path, err)
	}
	values := map[string]yamlValue{}
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		line := lineOf(doc.Body)
		if i > 0 {
			return nil, fmt.Errorf("%s:%d: only one document is allowed", path, line)
		}
		pairs, err := pairsOf(doc.Body)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		for _, pair := range pairs {
			line := pair.Key.GetToken().Position.Line
			key := pair.Key.GetToken().Value
			if err := knownKey(key); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, line, err)
			}
			text, err := scalarText(pair.Value)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %s %w", path, line, key, err)
			}
			values[key] = yamlValue{text, line}
		}
	}
	return values, nil
}

func syntaxError(path string, err error) error {
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", path, ye.GetToken().Position.Line, ye.GetMessage())
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s: %s", path, first)
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

func pairsOf(body ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := body.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil, nil
	default:
		return nil, errors.New(`must be lines of "setting: value"`)
	}
}

// scalarText is a plain value's text; the items of a list are joined by commas, as a flag takes them.
func scalarText(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.NullNode:
		return "", errors.New("has no value")
	case *ast.SequenceNode:
		items := make([]string, len(n.Values))
		for i, v := range n.Values {
			text, err := scalarText(v)
			if _, nested := v.(*ast.SequenceNode); nested || err != nil || strings.Contains(text, ",") {
				return "", errors.New("must be a list of plain values")
			}
			items[i] = text
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("must be a plain value or a list of plain values")
	}
}

// knownKey refuses what is not a setting, and --config in the file it names.
func knownKey(key string) error {
	var c Config
	for _, f := range c.fields() {
		if f.name == key && key != "config" {
			return nil
		}
	}
	for _, f := range c.fields() {
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(key), strings.ReplaceAll(f.name, "-", "")) && key != "config" {
			return fmt.Errorf("unknown setting %q, did you mean %q?", key, f.name)
		}
	}
	return fmt.Errorf("unknown setting %q", key)
}
