package kafkatest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed pom.xml
var pom []byte

var versionPattern = regexp.MustCompile(`<kafka\.version>([^<]+)</kafka\.version>`)

// ErrUnavailable is wrapped by every error that says that a tool this package needs (Java, Maven, kcat)
// is missing on the machine. Tests are skipped then, or fail where CI=true.
var ErrUnavailable = errors.New("not available on this machine")

// Version is the version of Apache Kafka that runs, as pinned in pom.xml.
func Version() string {
	if m := versionPattern.FindSubmatch(pom); m != nil {
		return string(m[1])
	}
	return "unknown"
}

// jars returns the folder with the broker's class path. Only the first call on a machine needs Maven
// and a network: the folder is named after the content of pom.xml and is complete when it exists.
func jars(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, fmt.Sprintf("kafka-%s-%x", Version(), sha256.Sum256(pom))[:len("kafka-")+len(Version())+9])
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return "", fmt.Errorf("mvn (Maven) %w, and %s is not filled", ErrUnavailable, dir)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := fetch(ctx, mvn, tmp); err != nil {
		return "", err
	}
	// Whoever renames first wins; the others' copies are the same and are thrown away.
	if err := os.Rename(filepath.Join(tmp, "lib"), dir); err != nil {
		if _, statErr := os.Stat(dir); errors.Is(statErr, fs.ErrNotExist) {
			return "", err
		}
	}
	return dir, nil
}

func fetch(ctx context.Context, mvn, tmp string) error {
	file := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, mvn, "-B", "-q", "-f", file, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(tmp, "lib"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the jars of Apache Kafka are %w: mvn: %w: %s", ErrUnavailable, err, firstLine(out))
	}
	return nil
}

// cacheDir is where downloads outlive a test run: $INGEST_CACHE, else a folder in the user's cache.
func cacheDir() (string, error) {
	if dir := os.Getenv("INGEST_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache folder (set INGEST_CACHE): %w", err)
	}
	return filepath.Join(dir, "functiongraph-ingest"), nil
}

// java returns the Java launcher: $JAVA_HOME's, else the one in PATH.
func java() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		if path, err := exec.LookPath(filepath.Join(home, "bin", "java")); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("java (17 or newer) %w", ErrUnavailable)
	}
	return path, nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}
