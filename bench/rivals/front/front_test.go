//go:build !386

package front

import (
	"errors"
	"testing"

	"github.com/valyala/fasthttp"
)

type client struct {
	got []Event
	err error
}

func (c *client) Put(events []Event) error {
	c.got = append(c.got, events...)
	return c.err
}

func (c *client) Close() error { return nil }

func TestHandler(t *testing.T) {
	c := &client{}
	post := func(body string) int {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetBodyString(body)
		Handler(c)(&ctx)
		return ctx.Response.StatusCode()
	}
	if code := post(`[{"traceId":"a","n":1}, {"n":2}]`); code != 200 || len(c.got) != 2 ||
		string(c.got[0].Key) != "a" || string(c.got[0].Value) != `{"traceId":"a","n":1}` || c.got[1].Key != nil {
		t.Errorf("%d, %q", code, c.got)
	}
	if code := post(`[{"n":1},x]`); code != 400 || len(c.got) != 2 {
		t.Errorf("a broken body: %d, %q", code, c.got)
	}
	c.err = errors.New("no broker")
	if code := post(`[{}]`); code != 503 {
		t.Errorf("no broker: %d", code)
	}
}
