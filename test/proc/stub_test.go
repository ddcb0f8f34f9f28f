package proc_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
)

// The test binary is its own stub of ingest: with this variable set it serves an admin address, is
// ready at the third question, prints a ledger at SIGTERM and exits with 3.
const stubVariable = "PROC_TEST_STUB"

func TestMain(m *testing.M) {
	if os.Getenv(stubVariable) == "" {
		os.Exit(m.Run())
	}
	os.Exit(stub(os.Args[1:]))
}

const stubLedger = `{"admitted":7,"recovered":1,"delivered":5,"deadLettered":1,"setAside":0,"spooled":0,"inFlight":1,` +
	`"dropped":{"shutdown":1},"possibleDuplicates":0,"duplicatesSuppressed":2,"idempotent":true,"ownLines":0,"waiting":{"bodies":0,"bytes":0},` +
	`"bodies":{"admitted":3,"refused":{"memory":2,"draining":1}}}`

func stub(args []string) int {
	flags := flag.NewFlagSet("stub", flag.ContinueOnError)
	admin := flags.String("admin", "", "")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var asked atomic.Int32
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			http.Error(w, "no leader", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/ledger", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, stubLedger) })
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "# TYPE a counter\na 1\nb{reason=\"x y\"} 2.5e3\n")
	})
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(*admin, nil) }()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	select {
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		return 1
	case <-term:
	}
	fmt.Fprintln(os.Stderr, "draining")
	fmt.Println(stubLedger)
	return 3
}
