package platform

import (
	"fmt"
	"net/http"
)

// step is one of the two requests.
type step string

const (
	stepRegister  step = "register"
	stepSubscribe step = "subscribe"
)

// Error is why the extension could not join. Its text is one line for the user: what happened, and
// what to do about it.
type Error struct {
	Step      step
	Status    int    // of the answer; 0: there was none
	Err       error  // what happened
	Advice    string // what a user must do
	Temporary bool   // it was tried again until the time was over
	Attempts  int
}

// Error is the line for the user.
func (e *Error) Error() string {
	tries := ""
	if e.Attempts > 1 {
		tries = fmt.Sprintf(" (%d attempts)", e.Attempts)
	}
	return fmt.Sprintf("%s: %v%s: %s", e.Step, e.Err, tries, e.Advice)
}

// Unwrap returns what happened.
func (e *Error) Unwrap() error { return e.Err }

func badAddress(api string) error {
	e := &Error{Step: stepRegister, Attempts: 1, Err: fmt.Errorf("EXTENSION_API_ADDR=%q is not host:port", api)}
	e.Advice = "the platform sets it for extensions; remove it from the function's environment variables"
	return e
}

func (c *client) unreachable(err error) *Error {
	return &Error{Err: foreign{err}, Temporary: true, Advice: fmt.Sprintf("nothing answers at EXTENSION_API_ADDR=%s; "+
		"an extension must be started by FunctionGraph, from the folder extension/ of a dependency package", c.cfg.API)}
}

// refused is what an answer other than 200 means. The reference documents 400 and 500 for subscriptions,
// and calls every code but 200 an error of the registration.
func (c *client) refused(status int, body []byte) *Error {
	e := &Error{Status: status, Err: fmt.Errorf("the platform answers %d \"%s\"", status, excerpt(body))}
	switch {
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.Temporary = true
		e.Advice = "the platform's own service fails; deploy the function again, and if that does not help open a service ticket with this line"
	case status == http.StatusNotFound:
		e.Advice = "this platform has no such API; extensions need an HTTP or event function (not a custom image) in a region that has them"
	default:
		e.Advice = fmt.Sprintf("the name %q must be the full file name of the start script (--extension-name), the address %s within "+
			"127.0.0.1:8081-8090 with a port per extension (--listen); for telemetry also: types %v (--telemetry-types), and "+
			"only one extension of a function may take telemetry: remove the other", c.cfg.Name, c.cfg.Address, c.cfg.Types)
	}
	return e
}
