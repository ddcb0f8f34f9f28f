package fgsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own extension: with this variable set it behaves as its words say. "good" is no
// fault at all.
const stubVariable = "FGSIM_TEST_STUB"

// neighbourVariable makes it the function beside the extension.
const neighbourVariable = "FGSIM_TEST_NEIGHBOUR"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(stubVariable) != "":
		os.Exit(stub(strings.Fields(os.Getenv(stubVariable))))
	case len(os.Args) == 3 && os.Args[1] == neighbourVariable:
		fmt.Fprintln(os.Stderr, RunNeighbour(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const stubName = "extensionStub.sh"

// stubListen takes the first free port of the range. Several tests, and programs of other people, want some.
func stubListen(from, to int) (net.Listener, error) {
	for {
		for port := from; port <= to; port++ {
			if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
				return l, nil
			}
		}
		<-time.After(50 * time.Millisecond)
	}
}

// stub is an extension with faults, one a word.
func stub(faults []string) int {
	has := func(fault string) bool { return slices.Contains(faults, fault) }
	term := make(chan os.Signal, 1)
	if has("stubborn") {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(term, syscall.SIGTERM)
	}
	fmt.Println("the stub begins, faults:", faults)
	if has("absent") {
		<-term
		return 0
	}
	if has("stillborn") {
		return 7
	}
	from, to := firstPort, lastPort
	if has("wrong-port") {
		from, to = 8191, 8290
	}
	l, err := stubListen(from, to)
	if err != nil {
		return 1
	}
	address := l.Addr().String()
	taken := make(chan int, 1<<16)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { stubServe(w, r, has, taken) })}
	if has("deaf") {
		_ = l.Close()
	} else {
		go func() { _ = server.Serve(l) }()
	}
	if !stubStart(address, has) {
		return 3
	}
	if has("dies") {
		<-taken
		return 9
	}
	if has("fat") {
		waste := bytes.Repeat([]byte{1}, 400<<20)
		<-term
		runtime.KeepAlive(waste)
		return 0
	}
	<-term
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_ = server.Shutdown(ctx) // it waits long for connections on which nothing came yet
	_ = server.Close()
	fmt.Println("the stub ends")
	return 0
}

// stubServe answers events.
func stubServe(w http.ResponseWriter, r *http.Request, has func(string) bool, taken chan<- int) {
	if r.URL.Path != "/" {
		if has("ignores-invocations") {
			http.NotFound(w, r)
		}
		return
	}
	n, _ := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
	select {
	case taken <- int(n):
	default:
	}
	switch {
	case has("500"):
		http.Error(w, "no", http.StatusInternalServerError)
	case has("mute"):
		panic(http.ErrAbortHandler)
	case n >= 1<<20:
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case has("flaky") && len(taken)%3 == 0:
		http.Error(w, "later", http.StatusServiceUnavailable)
	}
	if has("chatty") {
		fmt.Println("took", n, "bytes")
	}
}

// stubStart registers and subscribes.
func stubStart(address string, has func(string) bool) bool {
	if has("subscribes-first") {
		stubSubscribe(address, has)
	}
	h := http.Header{"Content-Type": {"application/json"}, "Functiongraph-Extension-Name": {stubName}, "Functiongraph-Extension-Address": {address}}
	if has("no-name") {
		h.Del("FunctionGraph-Extension-Name")
	}
	if has("other-name") {
		h.Set("FunctionGraph-Extension-Name", "extension")
	}
	if has("no-address") {
		h.Del("FunctionGraph-Extension-Address")
	}
	if has("all-interfaces") {
		h.Set("FunctionGraph-Extension-Address", strings.Replace(address, host, "0.0.0.0", 1))
	}
	if has("no-content-type") {
		h.Del("Content-Type")
	}
	if has("typo") {
		_, _ = stubCall(http.MethodPost, "/extension/next", h, "")
	}
	method := http.MethodPost
	if has("put") {
		method = http.MethodPut
	}
	if status, text := stubCall(method, "/extension/register", h, ""); status != 200 {
		fmt.Println("registration:", status, text)
		return false
	}
	if has("registers-twice") {
		_, _ = stubCall(http.MethodPost, "/extension/register", h, "")
	}
	if has("no-subscription") {
		return true
	}
	if !stubSubscribe(address, has) {
		return false
	}
	if has("subscribes-twice") {
		stubSubscribe(address, has)
	}
	return true
}

func stubSubscribe(address string, has func(string) bool) bool {
	body := fmt.Sprintf(`{"subscriber":{"protocol":"POST","uri":"http://%s"},"types":["platform","function","extension"]}`, address)
	switch {
	case has("no-json"):
		body = "subscribe me"
	case has("protocol"):
		body = strings.Replace(body, `"POST"`, `"HTTP"`, 1)
	case has("no-types"):
		body = strings.Replace(body, `"types"`, `"kinds"`, 1)
	case has("unknown-type"):
		body = strings.Replace(body, `"platform"`, `"logs"`, 1)
	case has("other-port"):
		l, err := stubListen(firstPort, lastPort)
		if err != nil {
			return false
		}
		body = strings.Replace(body, address, l.Addr().String(), 1)
	}
	status, text := stubCall(http.MethodPost, "/telemetry", nil, body)
	if status != 200 {
		fmt.Println("subscription:", status, text)
	}
	return status == 200
}

func stubCall(method, path string, h http.Header, body string) (int, string) {
	r, err := http.NewRequest(method, "http://"+os.Getenv("EXTENSION_API_ADDR")+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	if h != nil {
		r.Header = h
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, errors.Join(err, errors.New(string(text))).Error()
}
