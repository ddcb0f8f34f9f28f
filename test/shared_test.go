package test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

// One real broker serves all tests that do not hurt it; each takes topics of its own.
var shared struct {
	once    sync.Once
	cluster *kafkatest.Cluster
	err     error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "closing Kafka:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func kafka(t *testing.T) *kafkatest.Cluster {
	t.Helper()
	shared.once.Do(func() { shared.cluster, shared.err = kafkatest.StartCluster(t.Context(), kafkatest.Options{}) })
	if shared.err != nil {
		kafkatest.Unavailable(t, shared.err)
	}
	return shared.cluster
}

// client does not follow any environment and keeps connections.
var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// post sends one body and returns status and answer.
func post(t *testing.T, p *proc.Process, contentType string, body []byte) (int, string) {
	t.Helper()
	res, err := client.Post(p.URL("/"), contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// values are the messages' values by partition order.
func values(ms []kafkatest.Message) []string {
	out := make([]string, len(ms))
	for i := range ms {
		out[i] = string(ms[i].Value)
	}
	return out
}

// until waits for a condition.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it never came to that")
		}
	}
}
