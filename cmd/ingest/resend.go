package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/pkg/sink/kafka"
)

const (
	resendTimeout = time.Minute // for one answer
	resendTries   = 10          // of a letter that the listener has no room for
	resendPause   = time.Second // without a Retry-After
	mostPause     = 30 * time.Second
	maxAnswer     = 4 << 10
)

// resent counts the outcomes of a resend.
type resent struct {
	Taken   int `json:"taken"`
	Again   int `json:"deadLetteredAgain"`
	NotJSON int `json:"notJSON"` // to be mended first
	Notices int `json:"notices"` // about what is not in the topic: events that were set aside, losses
	Refused int `json:"refused"`
}

// sendTo returns the function that sends one dead letter to the place that --to names; with --dry-run it only looks
// whether the letter could be sent.
func (r *reading) sendTo(o *config.LetterOptions) (send func(context.Context, *letter) (again bool, err error), end func(), err error) {
	end = func() {}
	if o.To == toTopic {
		if o.DryRun {
			return func(_ context.Context, l *letter) (bool, error) { _, err := l.topic(r.cfg); return false, err }, end, nil
		}
		t, err := r.openTopic()
		if err != nil {
			return nil, end, err
		}
		return t.send, t.close, nil
	}
	to, err := url.Parse(o.To)
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return nil, end, errors.New("--to: must be the URL of a listener, for example http://127.0.0.1:8080/, or topic for the topic itself")
	}
	if o.DryRun {
		return func(context.Context, *letter) (bool, error) { return false, nil }, end, nil
	}
	p, err := newPoster(o)
	if err != nil {
		return nil, end, err
	}
	return func(ctx context.Context, l *letter) (bool, error) { return p.letter(ctx, l.bytes()) }, p.http.CloseIdleConnections, nil
}

// resend sends dead letters to a listener, one a body, or to the topic, and prints the outcomes.
func (r *reading) resend(ctx context.Context, inv *config.Invocation, w, stderr io.Writer) error {
	o := inv.Letters
	send, end, err := r.sendTo(o)
	if err != nil {
		return err
	}
	defer end()
	var n resent
	one := func(l *letter) error {
		value := l.bytes()
		switch {
		case l.Headers[kafka.HeaderTruncated] != "" || l.Reason == kafka.ReasonLoss:
			n.Notices++
			return nil
		case !isObject(value):
			n.NotJSON++
			fmt.Fprintf(stderr, "ingest: partition %d, offset %d: not a JSON object; mend it in a file of dlq show and give that file as --input\n", l.Partition, l.Offset)
			return nil
		}
		again, err := send(ctx, l)
		switch {
		case ctx.Err() != nil:
			n.Refused++
			return fmt.Errorf("interrupted at partition %d, offset %d: whether that letter was taken is open, and none behind it was sent", l.Partition, l.Offset)
		case err != nil:
			n.Refused++
			fmt.Fprintf(stderr, "ingest: partition %d, offset %d: %v\n", l.Partition, l.Offset, err)
			if errors.Is(err, errOpen) || errors.Is(err, errDoor) {
				return fmt.Errorf("ended at partition %d, offset %d, and none behind it was sent: %w", l.Partition, l.Offset, err)
			}
		case again:
			n.Again++
		default:
			n.Taken++
		}
		return nil
	}
	if o.Input != "" {
		err = lettersOf(o.Input, one)
	} else {
		err = r.each(ctx, inv, stderr, one)
	}
	line, _ := json.Marshal(n) // numbers only
	_, printed := fmt.Fprintf(w, "%s\n", line)
	if left := n.Again + n.NotJSON + n.Refused; err == nil && left > 0 {
		err = fmt.Errorf("%d dead letters were not taken", left)
	}
	return errors.Join(err, printed)
}

// isObject reports whether a listener takes value as one event.
func isObject(value []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) && json.Valid(value) && utf8.Valid(value)
}

// poster posts events to a listener.
type poster struct {
	http  *http.Transport
	to    string
	token string // "": none
}

func newPoster(o *config.LetterOptions) (*poster, error) {
	token, err := firstToken(o.TokenFile)
	if p, ok := errors.AsType[*os.PathError](err); ok {
		err = fmt.Errorf("cannot be read: %w", p.Err) // the path may be a token in place of its file's name
	}
	if err != nil {
		return nil, fmt.Errorf("--to-token-file: %w", err)
	}
	trust, err := trusted(o.CA)
	if err != nil {
		return nil, fmt.Errorf("--to-ca: %w", err)
	}
	if o.Cert != "" {
		cert, err := tls.LoadX509KeyPair(o.Cert, cmp.Or(o.Key, o.Cert))
		if err != nil {
			return nil, fmt.Errorf("--to-cert: %w", err)
		}
		if trust == nil {
			trust = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		trust.Certificates = []tls.Certificate{cert}
	}
	return &poster{&http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true}, o.To, token}, nil
}

// letter posts one event until the listener has room for it. again: it became a dead letter once more.
func (p *poster) letter(ctx context.Context, value []byte) (again bool, err error) {
	for try := 1; ; try++ {
		status, answer, wait, err := p.post(ctx, value)
		switch {
		case err != nil:
			return false, err
		case status == http.StatusUnauthorized || status == http.StatusForbidden:
			return false, fmt.Errorf("%w: answered %d: name a token that it takes in --to-token-file", errDoor, status)
		case status == http.StatusOK:
			var a struct{ DeadLettered, Dropped int }
			if json.Unmarshal(answer, &a) == nil && a.Dropped > 0 {
				return false, errors.New("the listener dropped it")
			}
			return a.DeadLettered > 0, nil
		case status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests || try == resendTries:
			return false, fmt.Errorf("answered %d %.200q", status, answer) // 504: the outcome is unknown, so not again
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

func (p *poster) post(ctx context.Context, value []byte) (status int, answer []byte, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, resendTimeout)
	defer cancel()
	connected := false // from then on a part of the letter may have been sent
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.to, bytes.NewReader(value))
	if err != nil {
		return 0, nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := p.http.RoundTrip(req) // no redirects: a listener knows none
	switch {
	case err != nil && connected:
		return 0, nil, 0, fmt.Errorf("%w: %w", errOpen, err)
	case err != nil:
		return 0, nil, 0, fmt.Errorf("%w: %w", errDoor, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, _ = io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // the status says it all
	wait = resendPause
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s >= 0 {
		wait = min(time.Duration(s)*time.Second, mostPause)
	}
	return res.StatusCode, answer, wait, nil
}
