package admin

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"functiongraph-ingest/internal/socket"
)

// A web page can make its own name point to 127.0.0.1 (DNS rebinding) and then read what a loopback address answers:
// ledger, metrics, profiles. Its requests carry that name as Host, so where the address is loopback only hosts pass
// that no page can have: IP addresses, localhost, and names that the operator gave.

// guardHost answers 403 to requests for foreign hosts if addr is loopback.
func guardHost(addr string, names []string, next http.Handler) http.Handler {
	if _, unix := socket.UnixPath(addr); unix || !socket.Loopback(addr) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hostAllowed(r.Host, names) {
			next.ServeHTTP(w, r)
			return
		}
		answer(w, http.StatusForbidden, plain, "forbidden: this address answers to IP addresses, localhost and the names of --admin-host")
	})
}

func hostAllowed(host string, names []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(host, "]"), "["), ".")
	return host == "" || strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil ||
		slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, host) })
}

// guardTokens answers 401 to requests without a token if there are tokens. Probes have none, and learn nothing from
// /healthz and /readyz that the listener would not tell them. The status page holds nothing; it asks its user for a token.
func guardTokens(deps Deps, next http.Handler) http.Handler {
	if deps.Tokens == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if deps.Refresh != nil {
			deps.Refresh()
		}
		if path := r.URL.Path; path == "/healthz" || path == "/readyz" || path == "/" || deps.Tokens.Allow([]byte(r.Header.Get("Authorization"))) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, plain, "unauthorized: send Authorization: Bearer TOKEN, with a token that this server knows (--admin-token-file)")
	})
}
