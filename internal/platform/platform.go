// Package platform speaks FunctionGraph's extension protocol: it registers this process as an extension
// and subscribes it to telemetry.
//
// The protocol as documented (API reference, functiongraph_06_2703 to 2713):
//
//	POST http://$EXTENSION_API_ADDR/extension/register      FunctionGraph-Extension-Name, -Address
//	POST http://$EXTENSION_API_ADDR/telemetry               {"subscriber":{"protocol":"POST","uri":…},"types":[…]}
//
// The HTTP server must be listening on 127.0.0.1:8081 to 8090 before the registration is sent, because
// the platform may send the first invocation event at once. What the platform sends afterwards is taken
// by internal/listen.
//
// [Join] is on the way of a function's cold start: two small requests and nothing else.
package platform

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Config says who joins which platform.
type Config struct {
	// API is EXTENSION_API_ADDR: host:port, with or without "http://" in front.
	API string
	// Name is the full file name of the start script, for example extensionIngest.sh.
	Name string
	// Address is the HTTP server's host:port; it listens already.
	Address string
	// Path is where on Address telemetry goes, "/" by default.
	Path string
	// Types of telemetry: platform, function, extension.
	Types []string
	// Patience is how long each of the two steps is tried before it is given up; 0: 30 s.
	Patience time.Duration
}

// Deps is what developers inject. Nil fields take the real thing.
type Deps struct {
	Logger *slog.Logger
	// Dial replaces the TCP dialler.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Function is what the platform tells about the function that this is an extension of.
type Function struct {
	Name    string
	Version string
}

const (
	patience       = 30 * time.Second // an instance that starts slower than this is given up by the platform
	attemptTimeout = 5 * time.Second  // one request; the API is on this machine
	firstPause     = 10 * time.Millisecond
	longestPause   = time.Second
)

// Join registers and subscribes. It tries again what may pass by itself, at most Patience for each step,
// or until ctx ends. An error is an *Error: one line that says what a user must do.
func Join(ctx context.Context, cfg Config, deps Deps) (Function, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Patience <= 0 {
		cfg.Patience = patience
	}
	cfg.API = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(cfg.API), "http://"), "/")
	if host, port, err := net.SplitHostPort(cfg.API); err != nil || host == "" || port == "" {
		return Function{}, badAddress(cfg.API)
	}
	dial := deps.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	c := &client{cfg: cfg, log: deps.Logger, http: &http.Transport{
		DialContext: dial,
		// Two requests in the life of the process: a kept connection would only be a goroutine more.
		DisableKeepAlives:  true,
		DisableCompression: true,

		MaxResponseHeaderBytes: maxAnswer,
		// No Proxy: the API is on this machine, whatever HTTP_PROXY says to the function.
	}}
	f, err := c.register(ctx)
	if err != nil {
		return f, err
	}
	return f, c.subscribe(ctx)
}

// persist calls try until it succeeds, fails for good, or the step's time is over.
func (c *client) persist(ctx context.Context, s step, try func(context.Context) *Error) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Patience)
	defer cancel()
	pause := firstPause
	var last *Error // of an attempt that was not cut short
	for attempt := 1; ; attempt++ {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		last.Step, last.Attempts = s, attempt
		if !err.Temporary {
			return last
		}
		if attempt == 1 {
			c.log.Debug("trying again", "step", s, "error", err.Err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return last
		}
		pause = min(2*pause, longestPause)
	}
}
