// Package top shows in a terminal what the status page shows in a browser: it asks the admin address of a process that runs,
// and keeps what it heard for rates and latencies.
package top

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"functiongraph-ingest/internal/admin"
	"functiongraph-ingest/internal/socket"
)

const (
	askTimeout = 5 * time.Second
	maxAnswer  = 4 << 20 // an answer is a few dozen KiB; whatever else listens there may send more
)

// Client asks one admin address.
type Client struct {
	base  string
	token string
	http  http.Client
}

// NewClient returns a client of the admin address at host:port, https://host:port or unix:/path. token is sent if it is not "";
// trust is for https, nil: what the system trusts.
func NewClient(address, token string, trust *tls.Config) *Client {
	transport := &http.Transport{TLSClientConfig: trust, MaxIdleConns: 2, DisableCompression: true}
	c := &Client{base: strings.TrimSuffix(address, "/"), token: token, http: http.Client{Transport: transport, Timeout: askTimeout}}
	if path, unix := socket.UnixPath(address); unix {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		c.base = "http://localhost"
	} else if !strings.Contains(address, "://") {
		c.base = "http://" + c.base
	}
	return c
}

// Close closes the connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// moment is what a process said at one time.
type moment struct {
	at     time.Time
	status admin.Status
	figures
}

// figures are the samples of /metrics.
type figures struct {
	values  map[string]float64  // those without labels
	reasons []reason            // of dead letters
	buckets map[string][]bucket // of histograms, cumulative
}

type reason struct {
	name string
	n    int64
}

type bucket struct{ bound, count float64 }

// look asks for everything.
func (c *Client) look(ctx context.Context) (*moment, error) {
	m := &moment{at: time.Now()}
	err := c.get(ctx, "/status", func(r io.Reader) error { return json.NewDecoder(r).Decode(&m.status) })
	if err != nil {
		return nil, err
	}
	return m, c.get(ctx, "/metrics", func(r io.Reader) error {
		m.figures = readFigures(r)
		return nil
	})
}

func (c *Client) get(ctx context.Context, path string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return errors.New("--admin: not an address: want host:port, https://host:port or unix:/path")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w: start ingest, or correct --admin", errors.Unwrap(err))
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return errors.New("the admin address asks for a token: set --token-file")
	default:
		return fmt.Errorf("%s answered %d: is --admin the admin address of ingest?", path, resp.StatusCode)
	}
	if err := read(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return fmt.Errorf("%s is not what ingest answers (%v): is --admin the admin address of ingest?", path, err)
	}
	return nil
}

// readFigures reads the text format of Prometheus; lines that it does not know are left out.
func readFigures(r io.Reader) figures {
	f := figures{values: map[string]float64{}, buckets: map[string][]bucket{}}
	for s := bufio.NewScanner(r); s.Scan(); {
		line := s.Text()
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[end+1:], 64)
		if err != nil {
			continue
		}
		name, labels, _ := strings.Cut(line[:end], "{")
		_, label, _ := strings.Cut(strings.TrimSuffix(labels, `"}`), `="`)
		if family, ok := strings.CutSuffix(name, "_bucket"); ok {
			if bound, err := strconv.ParseFloat(label, 64); err == nil {
				f.buckets[family] = append(f.buckets[family], bucket{bound, value})
			}
		} else if name == "ingest_dead_letters_total" && value > 0 {
			f.reasons = append(f.reasons, reason{label, int64(value)})
		} else if labels == "" {
			f.values[name] = value
		}
	}
	return f
}

// quantile estimates the quantile q of what a histogram has counted between two readings, in its unit: within a bucket
// values are taken as evenly spread. NaN: nothing was counted.
func quantile(before, now []bucket, q float64) float64 {
	since := func(i int) float64 {
		if i < len(before) {
			return now[i].count - before[i].count
		}
		return now[i].count
	}
	if len(now) == 0 || !(since(len(now)-1) > 0) {
		return math.NaN()
	}
	want, low, below := q*since(len(now)-1), 0.0, 0.0
	for i, b := range now {
		if n := since(i); n >= want {
			if math.IsInf(b.bound, 1) || n <= below {
				break
			}
			return low + (b.bound-low)*(want-below)/(n-below)
		}
		low, below = b.bound, since(i)
	}
	return low
}
