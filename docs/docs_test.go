package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The file map must name every package; a folder that is not named is named by a parent folder's row
// only when it is internal or testdata of that parent.
func TestFileMapNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("design.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator)))
		switch base := d.Name(); {
		case rel == "..", rel == "docs":
			return nil
		case strings.HasPrefix(base, "."), base == "testdata", base == "bin", base == "dist", base == "zz",
			strings.HasSuffix(filepath.ToSlash(filepath.Dir(rel)), "/internal") && strings.HasPrefix(rel, "test/"),
			base == "cmd" && rel != "cmd":
			return fs.SkipDir
		}
		goFiles, err := filepath.Glob(filepath.Join(path, "*.go"))
		if err != nil {
			return err
		}
		if len(goFiles) > 0 && !strings.Contains(string(text), "`"+rel+"`") {
			t.Errorf("docs/design.md: the file map does not name `%s`", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// anchors are the names by which the headings of a page are linked to, as GitHub and GitLab make them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	heading := regexp.MustCompile("(?m)^#+ (.*)$")
	unnamed := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		found[strings.ReplaceAll(unnamed.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return found
}

// A link to a file of the repository leads to a file, and to a heading that it has.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)`)
	pages := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "dist") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		pages++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			to := filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1]))
			if m[1] == "" {
				to = path
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
			} else if filepath.Ext(to) == ".md" && m[2] != "" {
				target, err := os.ReadFile(to)
				if err != nil || !anchors(string(target))[m[2]] {
					t.Errorf("%s links to #%s of %s, which has no such heading (%v)", path, m[2], to, err)
				}
			}
		}
		return nil
	})
	if err != nil || pages < 20 {
		t.Errorf("%d pages, %v", pages, err)
	}
}

// Lines of prose fit a screen: at most 120 characters outside of tables and code. Pages that are made from the program
// are its own affair.
func TestLinesFitAScreen(t *testing.T) {
	made := []string{"settings.md"}
	lines := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir() && name != ".." && (strings.HasPrefix(name, ".") || name == "bin" || name == "dist" || name == "testdata" || name == "results"):
			return fs.SkipDir
		case filepath.Ext(path) != ".md", slices.Contains(made, name):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fenced := false
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if fenced || strings.HasPrefix(strings.TrimSpace(line), "|") || strings.HasPrefix(line, "    ") {
				continue
			}
			lines++
			if n := utf8.RuneCountInString(line); n > 120 {
				t.Errorf("%s:%d has %d characters", path, i+1, n)
			}
		}
		return nil
	})
	if err != nil || lines < 1000 {
		t.Errorf("%d lines, %v", lines, err)
	}
}

// plain are phrases that have to be translated while they are read, and what to write for them.
var plain = []struct {
	phrase *regexp.Regexp
	better string
}{
	{regexp.MustCompile(`(?i)\b(who|what)ever\b|\b(no|some|any)body\b`), "the name of the client, the process, the operator, the input"},
	{regexp.MustCompile(`(?:^|[.:;] )(What|Who) (is|are|was|were|has|had|comes?|came|waits?|waited|goes|the|it|they|a|they)\b[^?]*$`), "the thing by its name: events that …, the client that …"},
	{regexp.MustCompile(`\bbut for\b`), "except"},
	{regexp.MustCompile(`\b(try|tries|tried|trying) on\b`), "retry"},
	{regexp.MustCompile(`, for (it|they|he|there)\b`), "because"},
	{regexp.MustCompile(`\bfor ever\b`), "without a limit"},
	{regexp.MustCompile(`\b(is|are) told of\b|\btells? of\b`), "is reported, reports"},
}

// Texts that users meet are plain: the pages, and what the program says.
func TestPlainWords(t *testing.T) {
	checked := 0
	check := func(where, text string) {
		checked++
		for _, p := range plain {
			if m := p.phrase.FindString(text); m != "" {
				t.Errorf("%s: %q; better: %s", where, m, p.better)
			}
		}
	}
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
			}
			if !fenced && !strings.HasPrefix(line, "#") {
				check(fmt.Sprintf("%s:%d", page, i+1), line)
			}
		}
	}
	for _, dir := range []string{"../cmd/ingest", "../internal", "../pkg/sink"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					check(files.Position(lit.Pos()).String(), lit.Value)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checked < 5000 {
		t.Errorf("%d texts", checked)
	}
}

// pages are the texts for users. Decisions and the history are left out: maintainers read them.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../README.md", "../SECURITY.md", "../CONTRIBUTING.md", "*.md", "format/*.md", "../bench/README.md", "../bench/rivals/README.md", "../cmd/fgsim/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatal(pattern, err)
		}
		all = append(all, found...)
	}
	return all
}
