package kafka

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// owners are the types that divide the sink's work, from the ground up, and those that each may know of. What a lower one
// has to tell goes up by a bell, a list, or one function that Sink.join sets.
var owners = map[string][]string{
	"core":         {},
	"room":         {"core"},
	"kafkaCluster": {"core"},
	"deadLetters":  {"core", "room"},
	"frameWriter":  {"core"},
	"committer":    {"core", "frameWriter"},
	"spiller":      {"core", "frameWriter", "room"},
	"placer":       {"core", "frameWriter"},
	"expirer":      {"core", "frameWriter"},
	"spooler":      {"core", "frameWriter", "committer", "spiller", "placer", "expirer", "room"},
	"sender":       {"core", "room", "kafkaCluster", "deadLetters", "frameWriter", "spooler"},
	"reporter":     {"core", "kafkaCluster", "deadLetters", "spooler", "sender"},
	"Sink":         {"core", "room", "kafkaCluster", "deadLetters", "spooler", "sender", "reporter"},
}

// below are the other types of the sink that name owners: each belongs to one.
var below = map[string]string{
	"lane": "core", "topic": "core", "batch": "core", "broker": "core", "wants": "core", "diskState": "core",
	"worker": "sender", "entry": "sender",
}

// TestOwnersKnowOnlyWhatStandsBelow: no field and no receiver leads from an owner to one above it.
func TestOwnersKnowOnlyWhatStandsBelow(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					s, ok := spec.(*ast.TypeSpec)
					if !ok {
						continue
					}
					declared[s.Name.Name] = true
					if holder := ownerOf(s.Name.Name); holder != "" {
						check(t, file, s.Name.Name, holder, s.Type)
					}
				}
			case *ast.FuncDecl:
				if d.Recv == nil {
					continue
				}
				if receiver := typeName(d.Recv.List[0].Type); ownerOf(receiver) != "" {
					check(t, file, receiver+"."+d.Name.Name, ownerOf(receiver), d.Type)
					check(t, file, receiver+"."+d.Name.Name, ownerOf(receiver), d.Body)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(owners)) {
		if !declared[name] {
			t.Errorf("there is no type %s", name)
		}
	}
}

// ownerOf is the owner that a type is, or belongs to; "": it is no part of the division.
func ownerOf(name string) string {
	if _, ok := owners[name]; ok {
		return name
	}
	return below[name]
}

// typeName is the name in a receiver.
func typeName(e ast.Expr) string {
	if p, ok := e.(*ast.StarExpr); ok {
		e = p.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// check reports the owners that n names as a type and that holder may not know.
func check(t *testing.T, file, what, holder string, n ast.Node) {
	t.Helper()
	ast.Inspect(n, func(n ast.Node) bool {
		var named ast.Expr
		switch n := n.(type) {
		case *ast.Field:
			named = n.Type
		case *ast.CompositeLit:
			named = n.Type
		case *ast.StarExpr:
			named = n.X
		default:
			return true
		}
		other := ownerOf(typeName(named))
		if other != "" && other != holder && !slices.Contains(owners[holder], other) {
			t.Errorf("%s: %s belongs to %s and names %s, which is of %s above it", file, what, holder, typeName(named), other)
		}
		return true
	})
}
