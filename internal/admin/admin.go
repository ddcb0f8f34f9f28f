// Package admin is the small HTTP server for operators: the status page, the ledger, metrics, health and readiness, and
// profiles when asked for. It shares nothing with the listener that takes telemetry, so that it answers
// also when that one is full.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"sync"
	"time"

	"functiongraph-ingest/internal/bearer"
	"functiongraph-ingest/internal/logging"
	"functiongraph-ingest/internal/socket"
	"functiongraph-ingest/internal/tlsconf"
)

// Config is what users set.
type Config struct {
	Addr       string      // host:port, where port 0 lets the system choose, or unix:/path
	SocketMode fs.FileMode // of unix:/path
	Pprof      bool        // serve /debug/pprof
	Hosts      []string    // names under which a loopback address answers, beside localhost and IP addresses
}

// Deps is what the pipeline gives. All functions must be safe for concurrent use.
type Deps struct {
	Metrics  func(io.Writer) error
	Health   *Health
	Settings func() []byte // JSON with secrets masked; nil: none are shown
	Log      *slog.Logger
	TLS      *tlsconf.Server // nil: plaintext
	Tokens   *bearer.Tokens  // nil: no request needs one
	Refresh  func()          // reads again what may have changed in the file of tokens; nil: nothing
	Level    *logging.Level  // of Log
}

// The clients are a scraper and a person: slow ones must not hold a goroutine for long.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second // a profile extends its own
	idleTimeout  = 2 * time.Minute  // longer than the interval of a scraper
)

// Server serves until Shutdown. Use: New, Listen, Serve in a goroutine, Shutdown.
type Server struct {
	cfg   Config
	tls   *tlsconf.Server
	http  *http.Server
	conns *conns

	mu sync.Mutex
	ln net.Listener
}

// New returns a server that does not listen yet.
func New(cfg Config, deps Deps) *Server {
	conns := &conns{lingerTime: lingerTime, lastLinger: lastLinger, bodyTime: bodyTime, unreadTime: unreadTime}
	conns.left = sync.NewCond(&conns.mu)
	return &Server{cfg: cfg, tls: deps.TLS, conns: conns, http: &http.Server{
		Handler: conns.bound(guardHost(cfg.Addr, cfg.Hosts, guardTokens(deps, handler(cfg, deps)))),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ReadTimeout:    readTimeout,
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: 2 * (maxHeader + readPiece), // never reached, see front.go
		ConnState:      conns.hear,
		ErrorLog:       slog.NewLogLogger(deps.Log.Handler(), slog.LevelWarn),
	}}
}

// Listen takes the address. From here on connections queue until Serve.
func (s *Server) Listen() error {
	ln, err := socket.Listen(s.cfg.Addr, s.cfg.SocketMode)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ln = ln
	s.mu.Unlock()
	return nil
}

// Addr is the address that Listen took.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ln.Addr()
}

// Serve answers until Shutdown, which makes it return nil at once (Shutdown waits for the answers under
// way, Serve does not). Listen comes first.
func (s *Server) Serve() error {
	s.mu.Lock()
	ln := s.ln
	s.mu.Unlock()
	err := s.http.Serve(limited{ln, s.conns, s.tls})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops listening and waits for the answers under way until ctx ends; then it closes their
// connections. It is idempotent.
func (s *Server) Shutdown(ctx context.Context) error {
	s.conns.stop()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.conns.wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ln != nil {
		s.ln.Close() // closed already unless Serve was never called; the error says just that
	}
	return err
}

// programName answers what go tool pprof asks the command line for. The arguments may hold a secret and are left out.
func programName(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, "text/plain; charset=utf-8", os.Args[0])
}

// handler has a pattern per path and method; other methods get 405 from the mux.
func handler(cfg Config, deps Deps) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) {
		l := deps.Health.Ledger()
		answer(w, http.StatusOK, "application/json", l.String())
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		head(w, "text/plain; version=0.0.4; charset=utf-8")
		if err := deps.Metrics(w); err != nil {
			deps.Log.Debug("metrics not written", "error", err) // the scraper has gone
		}
	})
	for _, path := range []string{"/healthz", "/readyz", "/status"} {
		mux.Handle("GET "+path, deps.Health)
	}
	mux.HandleFunc("GET /loglevel", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, plain, deps.Level.String())
	})
	mux.HandleFunc("PUT /loglevel", func(w http.ResponseWriter, r *http.Request) { setLevel(w, r, &deps) })
	mux.HandleFunc("GET /{$}", page)
	if deps.Settings != nil {
		mux.HandleFunc("GET /settings", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, "application/json", string(deps.Settings()))
		})
	}
	if cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", programName)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// setLevel takes the word that is the body of a request. No web page can ask for it: PUT needs a permission that is
// never given (CORS).
func setLevel(w http.ResponseWriter, r *http.Request, deps *Deps) {
	word, err := io.ReadAll(r.Body)
	if err == nil && len(word) > maxBody {
		err = fmt.Errorf("too large: a level has at most %d bytes", maxBody)
	}
	if err == nil {
		err = deps.Level.Change(deps.Log, "PUT /loglevel", func() error { return deps.Level.Set(strings.TrimSpace(string(word))) })
	}
	if err != nil {
		answer(w, http.StatusBadRequest, plain, err.Error())
		return
	}
	answer(w, http.StatusOK, plain, deps.Level.String())
}

const plain = "text/plain; charset=utf-8"

func head(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
}

// answer sends a text. It ends with a newline, so that a prompt of a shell does not follow its last line.
func answer(w http.ResponseWriter, status int, contentType, text string) {
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	head(w, contentType)
	w.WriteHeader(status)
	io.WriteString(w, text) // an error means that the client has gone
}
