package test

import (
	"os"
	"path/filepath"
	"testing"

	"functiongraph-ingest/test/proc"
)

// names is a hosts file for one process.
type names string

func newNames(t *testing.T) names {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	must(t, os.WriteFile(file, nil, 0o644))
	return names(file)
}

// hosts starts the process in a mount namespace where the file is /etc/hosts. It needs root, as small disks do.
func (n names) hosts(o *proc.Options) {
	const script = `mount --bind "$0" /etc/hosts && exec "$@"`
	o.Args = append([]string{"--mount", "sh", "-c", script, string(n), o.Bin}, o.Args...)
	o.Bin = "unshare"
}

func (n names) add(t *testing.T, line string) {
	t.Helper()
	must(t, os.WriteFile(string(n), []byte(line+"\n"), 0o644)) // in place: another file would not be seen
}
