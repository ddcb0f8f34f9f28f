package listen

import (
	"fmt"
	"strconv"
	"time"

	"functiongraph-ingest/internal/body"
	"functiongraph-ingest/internal/inflate"

	"github.com/valyala/fasthttp"
)

// reason is why a request is refused: one counter, one status.
type reason uint8

const (
	reasonFull reason = iota
	reasonShutdown
	reasonTooManyConns
	reasonTooLarge
	reasonLengthRequired
	reasonEncoding
	reasonMethod
	reasonNotFound
	reasonBadRequest
	reasonVersion
	reasonCorrupt
	reasonHeaderTooLarge
	reasonFields
	reasonReadTimeout
	reasonSlow
	reasonClientGone
	reasonUnauthorized
	reasonCrossSite
	reasonHost
	reasonHandshake // no answer
	reasons
)

// reasonNames has each reason's word in metrics and in the ledger, and its status. 503 is only for
// what is worth sending again; nothing of the body has been taken then.
var reasonNames = [reasons]struct {
	word   string
	status int
}{
	reasonFull:           {"full", fasthttp.StatusServiceUnavailable},
	reasonShutdown:       {"shutdown", fasthttp.StatusServiceUnavailable},
	reasonTooManyConns:   {"too_many_connections", fasthttp.StatusServiceUnavailable},
	reasonTooLarge:       {"too_large", fasthttp.StatusRequestEntityTooLarge},
	reasonLengthRequired: {"length_required", fasthttp.StatusLengthRequired},
	reasonEncoding:       {"content_encoding", fasthttp.StatusUnsupportedMediaType},
	reasonMethod:         {"method", fasthttp.StatusMethodNotAllowed},
	reasonNotFound:       {"not_found", fasthttp.StatusNotFound},
	reasonBadRequest:     {"bad_request", fasthttp.StatusBadRequest},
	reasonVersion:        {"http_version", fasthttp.StatusHTTPVersionNotSupported},
	reasonCorrupt:        {"corrupt_encoding", fasthttp.StatusBadRequest},
	reasonHeaderTooLarge: {"header_too_large", fasthttp.StatusRequestHeaderFieldsTooLarge},
	reasonFields:         {"header_fields", fasthttp.StatusRequestHeaderFieldsTooLarge},
	reasonReadTimeout:    {"read_timeout", fasthttp.StatusRequestTimeout},
	reasonSlow:           {"slow_body", fasthttp.StatusRequestTimeout},
	reasonClientGone:     {"client_gone", fasthttp.StatusBadRequest},
	reasonUnauthorized:   {"unauthorized", fasthttp.StatusUnauthorized},
	reasonCrossSite:      {"cross_site", fasthttp.StatusForbidden},
	reasonHost:           {"foreign_host", fasthttp.StatusForbidden},
	reasonHandshake:      {"tls_handshake", 0},
}

// Reasons are the words of all reasons.
func Reasons() []string {
	words := make([]string, reasons)
	for r := range reasons {
		words[r] = reasonNames[r].word
	}
	return words
}

// Unavailable is how many of the refusals, by reason, were answered 503. Their bodies need not have announced a length.
func Unavailable(refused map[string]int64) (n int64) {
	for _, r := range reasonNames {
		if r.status == fasthttp.StatusServiceUnavailable {
			n += refused[r.word]
		}
	}
	return n
}

// texts are the answers to refusals. They name the setting that would help, and are made once:
// refusing must be cheaper than serving.
type texts struct {
	byReason [reasons][]byte
	places   []byte // reasonFull where bodies have taken all places, not all bytes
	outcome  []byte // 504: the ack did not come in time
	aborted  []byte // 504: shutdown
}

func newTexts(cfg *Config, room *body.Room, besideFunction bool) texts {
	items, bytes := room.Limits()
	t := texts{}
	set := func(r reason, format string, args ...any) {
		t.byReason[r] = fmt.Appendf(nil, format+"\n", args...)
	}
	const full = "full: bodies that are still coming, or wait for Kafka or the disk, hold %s, and too few came free within %v, or longer in a crowd (--admit-wait). " +
		"Nothing of this body was taken. /status of the admin address says whether events reach Kafka. More %s\n"
	t.byReason[reasonFull] = fmt.Appendf(nil, full, fmt.Sprintf("too many of the %d bytes there are for bodies, of which long ones share three quarters", bytes), cfg.AdmitWait, "memory: --memory-limit")
	t.places = fmt.Appendf(nil, full, fmt.Sprintf("all of the %d places", items), cfg.AdmitWait, "places: --ring-items")
	set(reasonShutdown, "shutting down: nothing of this body was taken")
	set(reasonTooLarge, "too large: a body has at most %d bytes, without compression (--max-body)", cfg.MaxBodyBytes)
	set(reasonLengthRequired, "length required: send Content-Length, or Transfer-Encoding: chunked")
	set(reasonEncoding, "unsupported content encoding: send the body as it is, or one of %s, at most two inside one another", inflate.Accepted)
	set(reasonCorrupt, "bad request: the body is not what its Content-Encoding says, or a part is missing. Nothing of it was taken")
	set(reasonMethod, "method not allowed: POST")
	events := ""
	if besideFunction {
		events = ", invocation events to /extension/invoke"
	}
	set(reasonNotFound, "not found: deliveries go to %s%s", pathHint(cfg), events)
	set(reasonBadRequest, "bad request: this is not HTTP/1.1 as it should be")
	set(reasonVersion, "HTTP version not supported: send HTTP/1.1")
	set(reasonHeaderTooLarge, "header too large: at most %d bytes (--max-header-bytes)", cfg.MaxHeaderBytes)
	set(reasonFields, "too many header fields: at most %d", maxFields)
	set(reasonReadTimeout, "timeout: the request did not arrive within %v. Nothing of this body was taken", cfg.ReadTimeout)
	set(reasonSlow, "too slow: others wait for memory or a connection, and less than %d bytes/s of this request came for %v (--min-body-rate). "+
		"Nothing of it was taken", cfg.MinBodyRate, slowGrace)
	set(reasonClientGone, "incomplete: the body ended before its announced end. Nothing of it was taken")

	set(reasonUnauthorized, "unauthorized: send Authorization: Bearer TOKEN, with a token that this server knows (--listen-token-file)")
	set(reasonCrossSite, "forbidden: this request comes from a web page of another site. To allow it, name its origin in --cors-origin")
	set(reasonHost, "forbidden: to a browser this address answers as localhost or by its IP address only. To allow this page, name its origin in --cors-origin")

	conns := fmt.Appendf(nil, "too many connections: %d are served at the same time (--max-conns)\n", cfg.MaxConns)
	t.byReason[reasonTooManyConns] = conns

	t.outcome = fmt.Appendf(nil, "outcome unknown, delivery goes on: no ack within %v (--ack-timeout). Sending it again may double events\n", cfg.AckTimeout)
	t.aborted = []byte("outcome unknown, delivery goes on: shutting down. Sending it again may double events\n")
	return t
}

func pathHint(cfg *Config) string {
	switch {
	case cfg.TelemetryPath != "/":
		return "the path of --telemetry-path" // which may be a secret
	case cfg.Events:
		return "/ or /v1/events"
	default:
		return "/"
	}
}

// tooManyConns is a whole HTTP response: that request is not parsed.
func (s *Server) tooManyConns() string {
	text := s.texts.byReason[reasonTooManyConns]
	return fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\n%sRetry-After: %s\r\nConnection: close\r\n"+
		"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", s.lineOf(time.Now()).field, s.pace.header(), len(text), text)
}

// refuse writes the answer to a refusal and counts it. It decides nothing about the connection.
func (s *Server) refuse(ctx *fasthttp.RequestCtx, r reason) {
	s.count.refuse(r)
	status, text := reasonNames[r].status, s.texts.byReason[r]
	if r == reasonFull && s.noPlace() {
		text = s.texts.places
	}
	answer(ctx, status, text)
	switch status {
	case fasthttp.StatusServiceUnavailable:
		s.count.refusedBytes.Add(int64(max(0, ctx.Request.Header.ContentLength())))
		ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, s.pace.header())
	case fasthttp.StatusUnsupportedMediaType:
		ctx.Response.Header.Set(fasthttp.HeaderAcceptEncoding, inflate.Accepted)
	case fasthttp.StatusUnauthorized:
		ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
	case fasthttp.StatusMethodNotAllowed:
		ctx.Response.Header.Set(fasthttp.HeaderAllow, fasthttp.MethodPost)
	}
}

// noPlace reports whether there are as many bodies as places.
func (s *Server) noPlace() bool {
	used, _ := s.deps.Room.InUse()
	places, _ := s.deps.Room.Limits()
	return used >= places
}

// answer sets a plain text answer. text must not change until the answer is sent.
func answer(ctx *fasthttp.RequestCtx, status int, text []byte) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.SetBodyRaw(text)
}

// answerDropped is the 504 for a body of which events were dropped: taken, and neither delivered nor
// set aside. It is not a 503, because the others were taken.
func answerDropped(ctx *fasthttp.RequestCtx, lost, events int) {
	text := append([]byte(nil), "outcome unknown, delivery goes on: "...)
	text = strconv.AppendInt(text, int64(lost), 10)
	text = append(text, " of "...)
	text = strconv.AppendInt(text, int64(events), 10)
	text = append(text, " events were dropped, see /ledger. Sending the body again doubles the others\n"...)
	answer(ctx, fasthttp.StatusGatewayTimeout, text)
}

// readFailure tells why a request could not be read to its end, by what the socket said.
func (c *conn) readFailure() reason {
	switch err := c.readErr; {
	case err == errFields:
		return reasonFields
	case err == nil || err == errFraming:
		return reasonBadRequest // the bytes came, but they were not HTTP
	case isTimeout(err) && c.slow.Load():
		return reasonSlow
	case isTimeout(err) && c.fate.Load() == replaced:
		return reasonTooManyConns
	case isTimeout(err) && c.srv.aborted.Load():
		return reasonShutdown
	case isTimeout(err):
		return reasonReadTimeout
	default:
		return reasonClientGone
	}
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}
