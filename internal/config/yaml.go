package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// yamlValue is a value of the file. It stays text, so that all sources are read by the same code.
type yamlValue struct {
	text string
	line int
}

// The bounds of the file. All settings together are some 100 lines. The parser takes time and memory with the
// square of the tokens and with their nesting, so that they are bounded before it runs.
const (
	maxFileBytes  = 256 << 10
	maxFileTokens = 4000
	maxFileDepth  = 16 // of brackets
)

// loadYAML reads the settings of a file by name; "" is no file and has none. problems are those of single lines;
// with an error the file cannot be read at all.
func loadYAML(path string) (values map[string]yamlValue, problems []string, err error) {
	if path == "" {
		return nil, nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--config: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("--config: %w", err)
	}
	if len(text) > maxFileBytes {
		return nil, nil, fmt.Errorf("--config: %s has more than %d bytes: this is no file of settings", path, maxFileBytes)
	}
	return parseYAML(path, text)
}

// parseYAML reads one flat mapping. All messages begin with the file and the line, and none repeats a value: a
// line may hold a secret, or a part of one.
func parseYAML(path string, text []byte) (values map[string]yamlValue, problems []string, err error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // editors of Windows put a byte order mark first
	tokens := lexer.Tokenize(string(text))
	if err := boundTokens(path, tokens); err != nil {
		return nil, nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, nil, syntaxError(path, err)
	}
	values = map[string]yamlValue{}
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		line := lineOf(doc.Body)
		if i > 0 {
			return nil, nil, fmt.Errorf("%s:%d: only one document is allowed", path, line)
		}
		pairs, err := pairsOf(doc.Body)
		if err != nil {
			return nil, nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		secret := false // the key before is that of a secret, of which this line may be the rest
		for _, pair := range pairs {
			line := lineOf(pair.Key)
			key := pair.Key.GetToken().Value
			if err := knownKey(key, secret); err != nil {
				problems = append(problems, fmt.Sprintf("%s:%d: %v", path, line, err))
				continue
			}
			secret = isSecret(key)
			text, err := scalarText(pair.Value)
			if err != nil {
				problems = append(problems, fmt.Sprintf("%s:%d: %s %v", path, line, key, err))
				continue
			}
			values[key] = yamlValue{text, line}
		}
	}
	return values, problems, nil
}

// boundTokens refuses what no file of settings has and the parser cannot read in a bounded time.
func boundTokens(path string, tokens token.Tokens) error {
	depth := 0
	for i, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.MappingKeyType:
			return fmt.Errorf("%s:%d: must be lines of \"setting: value\"", path, t.Position.Line)
		case token.AnchorType, token.AliasType, token.TagType:
			return fmt.Errorf("%s:%d: anchors, aliases and tags are not allowed; quote a value that begins with !, & or *", path, t.Position.Line)
		}
		if depth > maxFileDepth || i >= maxFileTokens {
			return fmt.Errorf("%s:%d: nested too deeply or too long: this is no file of settings", path, t.Position.Line)
		}
	}
	return nil
}

// syntaxError says where the parser gave up, and why where its message repeats nothing of the file.
func syntaxError(path string, err error) error {
	const plain = "cannot be read as YAML; quote a value that has special characters"
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return fmt.Errorf("%s: %s", path, plain)
	}
	text := ye.GetMessage()
	switch {
	case strings.HasPrefix(text, "mapping key ") && strings.Contains(text, "already defined"):
		text = "this setting is given twice"
	case strings.ContainsAny(text, "\"`\n") || len(text) > 100:
		text = plain
	}
	return fmt.Errorf("%s:%d: %s", path, ye.GetToken().Position.Line, text)
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

// knownKey refuses what is not a setting, and --config in the file it names. It repeats the key unless that may be
// the rest of a secret.
func knownKey(key string, afterSecret bool) error {
	var c Config
	var names []string
	for _, f := range c.fields() {
		if f.name == "config" {
			continue
		}
		if f.name == key {
			return nil
		}
		names = append(names, f.name)
	}
	guess := didYouMean(strings.ReplaceAll(strings.ToLower(key), "_", "-"), names)
	if !isName(key) || afterSecret && guess == "" {
		return errors.New("unknown setting; its name is not shown, because it may be a part of a secret")
	}
	return fmt.Errorf("unknown setting %q%s", key, guess)
}

// isSecret reports whether a setting's value must not be shown.
func isSecret(name string) bool {
	var c Config
	for _, f := range c.fields() {
		if _, secret := f.value.Interface().(Secret); secret && f.name == name {
			return true
		}
	}
	return false
}
