package fgsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The ports that an extension may listen on, and the only host.
const (
	firstPort = 8081
	lastPort  = 8090
	host      = "127.0.0.1"

	maxAsked    = 1 << 20 // bytes of a request to the API, at most
	dialTimeout = 2 * time.Second
)

// types are what can be subscribed to.
var types = [...]string{"platform", "function", "extension"}

// api is the extension API of the platform. It answers every violation as the reference says, 400 with a
// message, and notes it.
type api struct {
	script string // file name of the start script; "" when it is not known
	note   func(code, text string)
	now    func() time.Time

	mu           sync.Mutex
	address      string // that is registered
	subscription *subscription
	registered   milestone
	subscribed   milestone
}

// milestone is reached once.
type milestone struct {
	at   time.Time // valid when done is closed
	done chan struct{}
}

func (m *milestone) reach(at time.Time) {
	m.at = at
	close(m.done)
}

func (m *milestone) reached() bool {
	select {
	case <-m.done:
		return true
	default:
		return false
	}
}

// subscription is the body of a request to /telemetry.
type subscription struct {
	Subscriber struct {
		Protocol string `json:"protocol"`
		URI      string `json:"uri"`
	} `json:"subscriber"`
	Types []string `json:"types"`
}

func newAPI(script string, note func(code, text string)) *api {
	return &api{
		script: script, note: note, now: time.Now,
		registered: milestone{done: make(chan struct{})}, subscribed: milestone{done: make(chan struct{})},
	}
}

// refusal is an answer that is not 200.
type refusal struct{ code, text string }

// ServeHTTP answers the two paths of the API.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAsked))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var answer any
	var refused *refusal
	status := http.StatusBadRequest
	switch {
	case r.URL.Path != "/extension/register" && r.URL.Path != "/telemetry":
		refused, status = &refusal{BadPath, fmt.Sprintf("%s %s: the API has /extension/register and /telemetry", r.Method, r.URL.Path)}, http.StatusNotFound
	case r.Method != http.MethodPost:
		refused, status = &refusal{BadMethod, fmt.Sprintf("%s %s: want POST", r.Method, r.URL.Path)}, http.StatusMethodNotAllowed
	case r.URL.Path == "/telemetry":
		refused = a.subscribe(body)
		answer = map[string]any{}
	default:
		refused = a.register(r.Header)
		answer = registration{FunctionName: "hello", FunctionVersion: "$LATEST"}
	}
	if refused != nil {
		a.note(refused.code, refused.text)
		answer = registration{ErrorInfo: errorInfo{Type: refused.code, Message: refused.text}}
	} else {
		status = http.StatusOK
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // who does not read it has no use for the error either
}

// registration is the answer to a registration. Refusals of both paths have its form.
type registration struct {
	FunctionName    string    `json:"functionName"`
	FunctionVersion string    `json:"functionVersion"`
	ErrorInfo       errorInfo `json:"errorInfo"`
}

type errorInfo struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (a *api) register(h http.Header) *refusal {
	if t, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || t != "application/json" {
		return &refusal{BadContentType, fmt.Sprintf("registration with Content-Type %q: want application/json", h.Get("Content-Type"))}
	}
	name := h.Get("FunctionGraph-Extension-Name")
	switch {
	case name == "":
		return &refusal{BadExtensionName, "registration without the header FunctionGraph-Extension-Name"}
	case a.script != "" && name != a.script:
		return &refusal{BadExtensionName, fmt.Sprintf("FunctionGraph-Extension-Name is %q: want the full file name of the start script, %q", name, a.script)}
	case !isScript(name):
		return &refusal{BadExtensionName, fmt.Sprintf("FunctionGraph-Extension-Name is %q: a start script is named extension….sh", name)}
	}
	address := h.Get("FunctionGraph-Extension-Address")
	if address == "" {
		return &refusal{BadExtensionAddress, "registration without the header FunctionGraph-Extension-Address"}
	}
	if refused := checkAddress("FunctionGraph-Extension-Address", address); refused != nil {
		return refused
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.registered.reached() {
		return &refusal{RegisteredTwice, fmt.Sprintf("registered again, with address %s: %s is registered", address, a.address)}
	}
	a.address = address
	a.registered.reach(a.now())
	return nil
}

// checkAddress checks host and port, and that something listens there.
func checkAddress(what, address string) *refusal {
	h, p, err := net.SplitHostPort(address)
	port, perr := strconv.Atoi(p)
	switch {
	case err != nil || perr != nil || h != host:
		return &refusal{BadExtensionAddress, fmt.Sprintf("%s is %q: want %s:port", what, address, host)}
	case port < firstPort || port > lastPort:
		return &refusal{BadPort, fmt.Sprintf("%s is %q: the port must be one of %d to %d", what, address, firstPort, lastPort)}
	}
	c, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		return &refusal{NotListening, fmt.Sprintf("%s is %q, but nothing listens there: the server must be up before it is announced", what, address)}
	}
	_ = c.Close()
	return nil
}

func (a *api) subscribe(body []byte) *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.registered.reached() {
		return &refusal{NotRegistered, "subscription before registration: register first"}
	}
	s := new(subscription)
	if d := json.NewDecoder(bytes.NewReader(body)); d.Decode(s) != nil {
		return &refusal{BadSubscription, fmt.Sprintf("the subscription is no JSON object of the documented form: %.200q", body)}
	}
	if refused := checkSubscription(s); refused != nil {
		return refused
	}
	address := strings.TrimPrefix(s.Subscriber.URI, "http://")
	address, _, _ = strings.Cut(address, "/")
	switch refused := checkAddress("subscriber.uri", address); {
	case refused != nil:
		return refused
	case address != a.address:
		return &refusal{OtherPort, fmt.Sprintf("subscriber.uri has %s, registered is %s: one port per extension", address, a.address)}
	case a.subscription != nil:
		return &refusal{SecondSubscriber, fmt.Sprintf("a second subscription, for %s: only one extension of a function may have telemetry", s.Subscriber.URI)}
	}
	a.subscription = s
	a.subscribed.reach(a.now())
	return nil
}

// checkSubscription checks the fields, all of which are required.
func checkSubscription(s *subscription) *refusal {
	u, err := url.Parse(s.Subscriber.URI)
	switch {
	case s.Subscriber.Protocol != http.MethodPost:
		return &refusal{BadSubscription, fmt.Sprintf("subscriber.protocol is %q: want \"POST\"", s.Subscriber.Protocol)}
	case err != nil || u.Scheme != "http" || u.Host == "":
		return &refusal{BadSubscription, fmt.Sprintf("subscriber.uri is %q: want http://%s:port", s.Subscriber.URI, host)}
	case len(s.Types) == 0:
		return &refusal{BadSubscription, fmt.Sprintf("types is missing or empty: want some of %q", types)}
	}
	for _, t := range s.Types {
		if !slices.Contains(types[:], t) {
			return &refusal{BadSubscription, fmt.Sprintf("types has %q: want some of %q", t, types)}
		}
	}
	return nil
}

// invokeURL is where invocation events go, by path.
func (a *api) invokeURL(path string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return "http://" + a.address + path
}

// telemetry is what was subscribed to; nil for nothing.
func (a *api) telemetry() *subscription {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.subscription
}
