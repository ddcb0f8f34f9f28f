package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// yamlValue is a value of the file. It stays text, so that all sources are read by the same code.
type yamlValue struct {
	text string
	line int
}

// loadYAML reads the settings of a file by name; "" is no file and has none.
func loadYAML(path string) (map[string]yamlValue, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseYAML(path, text)
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
