package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"functiongraph-ingest/internal/printable"
)

// The documented answers have about 200 bytes, names of functions 60, and names of versions 42.
const (
	maxAnswer = 64 << 10 // that is read, of header and body each
	maxText   = 300      // of it in a message
	maxName   = 256      // of a function, which goes into headers of records
)

type client struct {
	cfg  Config
	log  *slog.Logger
	http *http.Transport
}

// registration is the documented answer to a registration.
type registration struct {
	FunctionName    string `json:"functionName"`
	FunctionVersion string `json:"functionVersion"`
	ErrorInfo       struct {
		ErrorType    string `json:"errorType"`
		ErrorMessage string `json:"errorMessage"`
	} `json:"errorInfo"`
}

// subscription is the body of a subscription; all fields are required.
type subscription struct {
	Subscriber subscriber `json:"subscriber"`
	Types      []string   `json:"types"`
}

type subscriber struct {
	Protocol string `json:"protocol"`
	URI      string `json:"uri"`
}

// register tells the platform that this extension exists and where it listens.
func (c *client) register(ctx context.Context) (f Function, err error) {
	header := http.Header{
		// Spelled as documented, not as Go spells headers: the platform should not care, but may.
		"Content-Type":                    {"application/json"},
		"FunctionGraph-Extension-Name":    {c.cfg.Name},
		"FunctionGraph-Extension-Address": {c.cfg.Address},
	}
	err = c.persist(ctx, stepRegister, func(ctx context.Context) *Error {
		status, body, err := c.post(ctx, "/extension/register", header, "{}") // the body is not parsed
		if err != nil {
			return c.unreachable(err)
		}
		var r registration
		if status != http.StatusOK {
			return c.refused(status, body)
		}
		if err := json.Unmarshal(body, &r); err != nil {
			// The code alone says that we are registered; what the body tells is only for the log.
			c.log.Debug("the answer to the registration is not as documented", "error", foreign{err}, "body", excerpt(body))
		}
		if r.ErrorInfo.ErrorType != "" {
			c.log.Warn("the platform registered the extension and reports an error with it: see the function's log",
				"type", short(r.ErrorInfo.ErrorType, maxText), "message", short(r.ErrorInfo.ErrorMessage, maxText))
		}
		f = Function{Name: short(r.FunctionName, maxName), Version: short(r.FunctionVersion, maxName)}
		return nil
	})
	return f, err
}

// subscribe asks for telemetry.
func (c *client) subscribe(ctx context.Context) error {
	uri := "http://" + c.cfg.Address // as the reference prints it, without a slash
	if c.cfg.Path != "/" {
		uri += c.cfg.Path
	}
	body, err := json.Marshal(subscription{Subscriber: subscriber{Protocol: http.MethodPost, URI: uri}, Types: c.cfg.Types})
	if err != nil {
		panic("platform: " + err.Error()) // strings only: cannot fail
	}
	header := http.Header{"Content-Type": {"application/json"}}
	return c.persist(ctx, stepSubscribe, func(ctx context.Context) *Error {
		status, answer, err := c.post(ctx, "/telemetry", header, string(body))
		if err != nil {
			return c.unreachable(err)
		}
		if status != http.StatusOK {
			return c.refused(status, answer)
		}
		return nil
	})
}

// post sends one request. Redirects are not followed: the reference knows none.
func (c *client) post(ctx context.Context, path string, header http.Header, body string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.cfg.API+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = header.Clone()
	res, err := c.http.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	// The status says it all; a body that breaks off makes no other answer of it.
	answer, _ = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, answer, nil
}

// excerpt is an answer's body for a log line: the documented error message if there is one, else its
// beginning.
func excerpt(body []byte) string {
	var r struct {
		registration
		Message    string `json:"message"`
		ErrMessage string `json:"error_msg"`
	}
	_ = json.Unmarshal(body, &r)
	for _, text := range []string{r.ErrorInfo.ErrorMessage, r.ErrMessage, r.Message} {
		if text != "" {
			return short(text, maxText)
		}
	}
	return short(string(bytes.TrimSpace(body)), maxText)
}

// short is text of the platform in one printable line of at most n bytes.
func short(s string, n int) string {
	if s = printable.Text(s[:min(n, len(s))]); len(s) > n { // escapes are longer than what they stand for
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

// foreign is an error whose text may be the platform's.
type foreign struct{ error }

func (f foreign) Error() string { return short(f.error.Error(), maxText) }
func (f foreign) Unwrap() error { return f.error }
