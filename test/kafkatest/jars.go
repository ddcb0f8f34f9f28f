package kafkatest

import (
	"bytes"
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

// pomOf is pom.xml for another version; "" is the pinned one.
func pomOf(version string) []byte {
	if version == "" || version == Version() {
		return pom
	}
	text := versionPattern.ReplaceAll(pom, []byte("<kafka.version>"+version+"</kafka.version>"))
	if needsZooKeeper(version) {
		if !strings.HasPrefix(version, "2.8") {
			text = bytes.Replace(text, []byte("kafka_2.13"), []byte("kafka_2.12"), 1) // all that there is of the oldest
		}
		// They ask log4j 1 about itself.
		text = bytes.Replace(text, []byte("  </dependencies>"), []byte(`    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-1.2-api</artifactId>
      <version>${log4j.version}</version>
    </dependency>
  </dependencies>`), 1)
	}
	if strings.HasPrefix(version, "2.") && !strings.HasPrefix(version, "2.8") {
		// ZooKeeper 3.4.14 cannot read the name that Java 14 and newer give an address.
		text = bytes.Replace(text, []byte("  </dependencies>"), []byte(`    <dependency>
      <groupId>org.apache.zookeeper</groupId>
      <artifactId>zookeeper</artifactId>
      <version>3.4.10</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
  </dependencies>`), 1)
	}
	return text
}

// needsZooKeeper reports whether brokers of a version cannot do without, or not well.
func needsZooKeeper(version string) bool {
	return strings.HasPrefix(version, "0.") || strings.HasPrefix(version, "1.") || strings.HasPrefix(version, "2.")
}

// jars returns the folder with the class path of brokers of a version, "" for the pinned one. Only the first call
// on a machine needs Maven and a network: the folder is named after the content of pom.xml and is complete when it
// exists.
func jars(ctx context.Context, version string) (string, error) {
	pom := pomOf(version)
	if version == "" {
		version = Version()
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, fmt.Sprintf("kafka-%s-%x", version, sha256.Sum256(pom))[:len("kafka-")+len(version)+9])
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
	if err := fetch(ctx, mvn, tmp, pom); err != nil {
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

func fetch(ctx context.Context, mvn, tmp string, pom []byte) error {
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
