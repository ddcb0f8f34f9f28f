package listen

import (
	"bytes"
	"net"
	"slices"

	"github.com/valyala/fasthttp"

	"functiongraph-ingest/internal/socket"
)

// Who may post: a client with a token, where tokens are asked for, and no web page. A page in some browser can reach
// what its user's machine reaches, 127.0.0.1 too, and post there without asking first if it sends text or a form. So
// requests that come from a browser are held to the rules of net/http's CrossOriginProtection: Sec-Fetch-Site, or else
// the Origin, has to be that of the server itself, or one of --cors-origin. A page can also make its own name point to
// 127.0.0.1 (DNS rebinding) and is then of the same origin: so where the listener is loopback, a browser's Host must be
// one that no page can have.

// AnyOrigin, as an origin, stands for every one.
const AnyOrigin = "*"

const (
	allowedHeaders = "Authorization, Content-Encoding, Content-Type"
	preflightAge   = "600"
)

// guard is which clients are let in. It does not change.
type guard struct {
	origins  []string
	any      bool // of them
	loopback bool
	// Names of header fields, made once.
	origin, site, authorization []byte
}

func newGuard(cfg *Config) guard {
	_, unix := socket.UnixPath(cfg.Addr) // which no browser reaches
	return guard{
		origins: cfg.CORSOrigins, any: slices.Contains(cfg.CORSOrigins, AnyOrigin), loopback: !unix && socket.Loopback(cfg.Addr),
		origin: []byte(fasthttp.HeaderOrigin), site: []byte("Sec-Fetch-Site"), authorization: []byte(fasthttp.HeaderAuthorization),
	}
}

// allows reports whether pages of an origin may post.
func (g *guard) allows(origin []byte) bool {
	return len(origin) > 0 && (g.any || slices.ContainsFunc(g.origins, func(o string) bool { return bytes.EqualFold([]byte(o), origin) }))
}

// judge is why a delivery is refused for where it comes from; reasons: it is not.
func (g *guard) judge(h *fasthttp.RequestHeader) reason {
	origin, site := h.PeekCanonical(g.origin), h.PeekCanonical(g.site)
	if len(origin) == 0 && len(site) == 0 || g.allows(origin) {
		return reasons // no browser, or a page that may
	}
	switch string(site) {
	case "same-origin", "none":
	case "":
		if _, host, ok := bytes.Cut(origin, []byte("://")); !ok || !bytes.EqualFold(host, h.Host()) {
			return reasonCrossSite
		}
	default:
		return reasonCrossSite
	}
	if g.loopback && !localHost(string(h.Host())) {
		return reasonHost
	}
	return reasons
}

// localHost reports whether a Host field is an IP address or localhost, which no other site can own.
func localHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return host == "localhost" || net.ParseIP(string(bytes.Trim([]byte(host), "[]"))) != nil
}

// cors adds what a browser needs to show an answer to a page that may post.
func (g *guard) cors(ctx *fasthttp.RequestCtx) {
	if len(g.origins) == 0 {
		return
	}
	h := &ctx.Response.Header
	h.Set(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	if origin := ctx.Request.Header.PeekCanonical(g.origin); g.allows(origin) {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderAccessControlExposeHeaders, fasthttp.HeaderRetryAfter)
	}
}

// preflight answers the question of a browser whether a page may post, if it is one and the answer is yes.
func (g *guard) preflight(ctx *fasthttp.RequestCtx) bool {
	r := &ctx.Request.Header
	if !ctx.IsOptions() || !g.allows(r.PeekCanonical(g.origin)) || len(r.Peek(fasthttp.HeaderAccessControlRequestMethod)) == 0 {
		return false
	}
	h := &ctx.Response.Header
	ctx.SetStatusCode(fasthttp.StatusNoContent)
	h.Set(fasthttp.HeaderAccessControlAllowMethods, fasthttp.MethodPost)
	h.Set(fasthttp.HeaderAccessControlAllowHeaders, allowedHeaders)
	h.Set(fasthttp.HeaderAccessControlMaxAge, preflightAge)
	if len(r.Peek("Access-Control-Request-Private-Network")) > 0 {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	return true
}

// judge is what a request is for, and why its header alone is refused; reasons: it is not.
func (s *Server) judge(ctx *fasthttp.RequestCtx, c *conn) (target, reason) {
	t, h := s.target(ctx.Path()), &ctx.Request.Header
	switch {
	case !bytes.HasPrefix(h.Protocol(), []byte("HTTP/1.")):
		return nowhere, reasonVersion
	case s.deps.Tokens != nil && !s.deps.Tokens.Allow(h.PeekCanonical(s.guard.authorization)):
		return t, reasonUnauthorized
	case t == nowhere:
		return t, reasonNotFound
	case !ctx.IsPost():
		return t, reasonMethod
	case t == telemetry && !c.head.plain():
		return t, s.guard.judge(h)
	}
	return t, reasons
}

// health answers GET /healthz and /readyz where Deps.Health does, for load balancers: without a token, because they
// have none.
func (s *Server) health(ctx *fasthttp.RequestCtx) bool {
	if s.deps.Health == nil || !ctx.IsGet() && !ctx.IsHead() {
		return false
	}
	status, text, ok := s.deps.Health(string(ctx.Path()))
	if ok {
		answer(ctx, status, text)
		ctx.Response.Header.Set(fasthttp.HeaderCacheControl, "no-store")
	}
	return ok
}
