package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayBeSkipped are the conditions for which a test may skip itself also with CI=true: CI runs the other builds as well.
var mayBeSkipped = []string{"testing.Short()", "raceEnabled", "!canSleep", `runtime.GOOS != "linux"`, "strconv.IntSize < 64", "!Native"}

// What a machine lacks is no reason to leave a test out in continuous integration: only skiptest.Missing skips for that.
func TestNothingIsSkippedForWhatIsMissing(t *testing.T) {
	const call = "t.Skip"
	seen := 0
	must(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "skiptest" || d.Name() != ".." && strings.HasPrefix(d.Name(), ".")) {
			if err == nil {
				err = filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "skips_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		before := ""
		for i, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, call) {
				seen++
				if !slices.ContainsFunc(mayBeSkipped, func(c string) bool { return before == "if "+c+" {" }) {
					t.Errorf("%s:%d skips a test: use skiptest.Missing", path, i+1)
				}
			}
			before = strings.TrimSpace(line)
		}
		return nil
	}))
	if seen == 0 {
		t.Error("no skip was looked at")
	}
}
