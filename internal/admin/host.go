package admin

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// A web page can make its own name point to 127.0.0.1 (DNS rebinding) and then read what a loopback address answers:
// ledger, metrics, profiles. Its requests carry that name as Host, so where the address is loopback only hosts pass
// that no page can have: IP addresses, localhost, and names that the operator gave.

// guardHost answers 403 to requests for foreign hosts if addr is loopback.
func guardHost(addr string, names []string, next http.Handler) http.Handler {
	if !loopback(addr) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hostAllowed(r.Host, names) {
			next.ServeHTTP(w, r)
			return
		}
		answer(w, http.StatusForbidden, plain, "forbidden: this address answers to IP addresses, localhost and the names of --admin-host\n")
	})
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}

func hostAllowed(host string, names []string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(host, "]"), "["), ".")
	return host == "" || strings.EqualFold(host, "localhost") || net.ParseIP(host) != nil ||
		slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, host) })
}
