package proc

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Metrics asks /metrics and returns every sample under its name with labels, as printed:
// `ingest_sink_records_total` or `ingest_bodies_refused_total{reason="memory"}`.
func (p *Process) Metrics() (map[string]float64, error) {
	status, body, err := p.Get("/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("/metrics answered %d: %.200q", status, body)
	}
	return parseMetrics(string(body))
}

// parseMetrics reads the Prometheus text format without timestamps and exemplars.
func parseMetrics(text string) (map[string]float64, error) {
	samples := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		// A label's value may hold blanks; the sample's value holds none.
		i := strings.LastIndexByte(line, ' ')
		if i < 0 {
			return nil, fmt.Errorf("metric line %q has no value", line)
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric line %q: %w", line, err)
		}
		samples[strings.TrimSpace(line[:i])] = v
	}
	return samples, nil
}
