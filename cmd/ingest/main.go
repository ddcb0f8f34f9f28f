// Command ingest takes telemetry over HTTP and puts it into Kafka.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"functiongraph-ingest/internal/config"
)

// The exit codes. They are a contract with the starter of the process.
const (
	exitOK      = 0
	exitFailed  = 1 // could not start, for a reason that is not a setting: an address in use; spool replay: frames are left
	exitUsage   = 2 // a bad setting or command line
	exitDropped = 3 // something that was accepted is lost; the last line says what and why
	exitDamaged = 3 // spool verify, export: something in the directory is damaged
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program without the process: it returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	inv, err := config.Parse(args, config.ReadHost(), stdout)
	if err != nil && len(args) > 0 && args[0] == string(config.Extension) {
		return extend(nil, args, err, stdout, stderr)
	}
	if err != nil {
		return complain(stderr, err)
	}
	switch inv.Command {
	case "version":
		return printVersion(stdout, inv.JSON)
	case "completion":
		fmt.Fprint(stdout, config.Completion(inv.Shell))
		return exitOK
	case "man":
		fmt.Fprint(stdout, config.Man(version()))
		return exitOK
	case string(config.Extension):
		return extend(inv, args, nil, stdout, stderr)
	case "check":
		return check(inv, stdout, stderr)
	case "serve":
		return start(inv.Config, args, stdout, stderr)
	case "top":
		return watch(inv.Top, stdout, stderr)
	case "spool ls", "spool verify", "spool export":
		return spoolTool(inv, stdout, stderr)
	case "spool replay":
		return startReplay(inv.Config, inv.Spool.Timeout, stdout, stderr)
	case "audit":
		return runAudit(inv, stdout, stderr)
	case "dlq ls", "dlq show", "dlq resend":
		return letters(inv, stdout, stderr)
	default:
		return exitOK // help was printed
	}
}

// complain prints a bad command line or bad settings, one line each.
func complain(stderr io.Writer, err error) int {
	var problems config.Problems
	if !errors.As(err, &problems) {
		problems = config.Problems{err.Error()}
	}
	for _, line := range problems {
		fmt.Fprintln(stderr, "ingest: "+line)
	}
	return exitUsage
}
