package docs

import (
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

// A link to a file of the repository leads to a file.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
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
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1]))); err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
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
