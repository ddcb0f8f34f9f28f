// Package browser drives a headless Chromium over its debugging pipe: what a page shows, and what it may not do.
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"functiongraph-ingest/internal/skiptest"
)

// patience is for a machine that does many other things.
const patience = 2 * time.Minute

// Browser is a running Chromium with one tab. Its methods are for one goroutine.
type Browser struct {
	t       testing.TB
	cmd     *exec.Cmd
	to      io.WriteCloser
	session string
	next    int

	mu       sync.Mutex
	answers  map[int]chan answer
	gone     chan struct{}
	requests []string // addresses of everything that was asked for
	problems []string // errors of scripts, and what the policy of the page forbade
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start runs a browser until the end of the test. Without Chromium the test is skipped, or fails where CI=true.
func Start(t testing.TB) *Browser {
	t.Helper()
	bin, err := exec.LookPath("chromium")
	if err != nil {
		skiptest.Missing(t, "%v", err)
	}
	b := &Browser{t: t, answers: map[int]chan answer{}, gone: make(chan struct{})}
	in, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b.to = to
	// As root Chromium has no sandbox; it sees nothing but a page of ours.
	b.cmd = exec.Command(bin, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	b.cmd.ExtraFiles = []*os.File{in, out} // 3 and 4
	err = b.cmd.Start()
	_, _ = in.Close(), out.Close()
	if err != nil {
		t.Fatal(err)
	}
	go b.read(from)
	t.Cleanup(b.close)
	b.attach()
	return b
}

// close ends the browser, all of its processes: they leave when the pipe is closed.
func (b *Browser) close() {
	_ = b.to.Close()
	dead := time.AfterFunc(patience, func() { _ = b.cmd.Process.Kill() })
	defer dead.Stop()
	<-b.gone
	_ = b.cmd.Wait()
}

// attach opens the session with the tab.
func (b *Browser) attach() {
	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	var session struct{ SessionID string }
	for deadline := time.Now().Add(patience); session.SessionID == ""; {
		b.call("Target.getTargets", nil, &targets)
		for _, at := range targets.TargetInfos {
			if at.Type == "page" {
				b.call("Target.attachToTarget", map[string]any{"targetId": at.TargetID, "flatten": true}, &session)
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatal("Chromium has no tab")
		}
	}
	b.session = session.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
}

// read hands answers to their callers and keeps what tests ask for of the events. Messages end with a zero byte.
func (b *Browser) read(from io.ReadCloser) {
	defer close(b.gone)
	defer from.Close()
	for r := bufio.NewReaderSize(from, 1<<20); ; {
		text, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Method string
			Params struct {
				Request          struct{ URL string }
				Entry            struct{ Level, Text, URL string }
				ExceptionDetails struct {
					Text      string
					Exception struct{ Description string }
				}
			}
			answer
		}
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue // an event in another shape
		}
		b.mu.Lock()
		switch p := &m.Params; {
		case m.ID != 0:
			if c := b.answers[m.ID]; c != nil {
				c <- m.answer
				delete(b.answers, m.ID)
			}
		case m.Method == "Network.requestWillBeSent":
			b.requests = append(b.requests, p.Request.URL)
		case m.Method == "Log.entryAdded" && p.Entry.Level == "error":
			b.problems = append(b.problems, p.Entry.Text+" "+p.Entry.URL)
		case m.Method == "Runtime.exceptionThrown":
			b.problems = append(b.problems, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
		}
		b.mu.Unlock()
	}
}

// call sends a command and waits for its answer.
func (b *Browser) call(method string, params, result any) {
	b.t.Helper()
	if err := b.try(method, params, result); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

func (b *Browser) try(method string, params, result any) error {
	b.next++
	if params == nil {
		params = struct{}{}
	}
	text, err := json.Marshal(map[string]any{"id": b.next, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		text, err = json.Marshal(map[string]any{"id": b.next, "method": method, "params": params})
	}
	if err != nil {
		return err
	}
	c := make(chan answer, 1)
	b.mu.Lock()
	b.answers[b.next] = c
	b.mu.Unlock()
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case a := <-c:
		if a.Error != nil {
			return errors.New(a.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-b.gone:
		return errors.New("chromium has ended")
	case <-ctx.Done():
		return errors.New("chromium does not answer")
	}
}

// Open goes to an address.
func (b *Browser) Open(url string) {
	b.t.Helper()
	var r struct{ ErrorText string }
	b.call("Page.navigate", map[string]any{"url": url}, &r)
	if r.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, r.ErrorText)
	}
}

// View sets the size of the window and the scheme of colors, "light" or "dark".
func (b *Browser) View(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Eval runs an expression in the page and stores its value.
func (b *Browser) Eval(expression string, value any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails.Exception.Description)
	}
	if value != nil && r.Result.Value != nil {
		if err := json.Unmarshal(r.Result.Value, value); err != nil {
			b.t.Fatalf("%s: %v in %s", expression, err, r.Result.Value)
		}
	}
}

// Text is what a reader sees of the element that a selector names; "" if it is hidden.
func (b *Browser) Text(selector string) (text string) {
	b.t.Helper()
	b.Eval(fmt.Sprintf("(e => e?.checkVisibility() ? e.innerText : '')(document.querySelector(%q))", selector), &text)
	return text
}

// Picture is a PNG of the whole page.
func (b *Browser) Picture() []byte {
	b.t.Helper()
	var r struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	return png
}

// Requests are the addresses of everything that was asked for so far.
func (b *Browser) Requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.requests...)
}

// Problems are errors of scripts and what the policy of a page forbade, so far.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.problems...)
}
