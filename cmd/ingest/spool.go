package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/spoolctl"
)

// spoolTool runs a command that looks at a spool directory.
func spoolTool(inv *config.Invocation, stdout, stderr io.Writer) int {
	o := inv.Spool
	source := spoolctl.Source{Dir: o.Dir, Progress: spoolctl.NewProgress(stderr, isTerminal(stderr), time.Now, spoolctl.Bytes)}
	damaged, err := false, error(nil)
	switch inv.Command {
	case "spool ls":
		var l *spoolctl.Listing
		if l, err = spoolctl.List(source); err == nil && o.JSON {
			err = l.WriteJSON(stdout)
		} else if err == nil {
			err = l.WriteText(stdout)
		}
	case "spool verify":
		var bad int
		bad, err = spoolctl.Verify(source, stdout)
		damaged = bad > 0
	case "spool export":
		damaged, err = export(source, o, stdout, stderr)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "ingest: "+err.Error())
		return exitFailed
	case damaged:
		return exitDamaged
	}
	return exitOK
}

func export(source spoolctl.Source, o *config.SpoolOptions, stdout, stderr io.Writer) (damaged bool, err error) {
	w := stdout
	if o.Output != "" {
		file, err := create(o.Output, o.Dir)
		if err != nil {
			return false, err
		}
		defer file.Close() // again, after an error
		w = file
	} else if isTerminal(stdout) {
		source.Progress = nil // the lines would run through it
	}
	sum, err := spoolctl.Export(source, spoolctl.Filter{Topics: o.Topics, Partitions: o.Partitions, Since: o.Since, WithMeta: o.WithMeta}, w)
	if file, ok := w.(*os.File); ok && o.Output != "" {
		err = errors.Join(err, file.Close())
	}
	fmt.Fprintf(stderr, "ingest: %d records; left out: %d dead letters (--topic takes them), %d damaged regions\n", sum.Records, sum.DeadLetters, sum.Damaged)
	return sum.Damaged > 0, err
}

// create makes a file that does not exist, and not within the spool directory: that is only read.
func create(name, dir string) (*os.File, error) {
	parent, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	parent, err = filepath.Abs(parent)
	abs, err2 := filepath.Abs(dir)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(abs, parent); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
		return nil, fmt.Errorf("--output=%s is in the spool directory, which is only read", name)
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}
