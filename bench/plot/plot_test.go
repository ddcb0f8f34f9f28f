package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// TestSVGIsWellFormed with everything that a chart can have, and with nothing in it.
func TestSVGIsWellFormed(t *testing.T) {
	for name, c := range map[string]*Chart{
		"empty": {},
		"full": {
			Title: `a < b & "c"`, X: Axis{Label: "x", Log: true}, Y: Axis{Label: "y", Log: true},
			Series: []Series{
				{Name: "one", Points: []Point{{1, 2}, {10, 0}, {100, 3e6}, {1000, math.NaN()}}},
				{Name: "two", Points: []Point{{5, 5}}, Dashed: true, Bare: true},
			},
			Spans: []Span{{2, 1e9, "out <of> range"}},
		},
		"flat": {Series: []Series{{Points: []Point{{0, 0}, {1, 0}}}}},
	} {
		svg := c.SVG()
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s: a place that is none:\n%s", name, svg)
		}
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, svg)
			}
		}
	}
}

func TestScale(t *testing.T) {
	s := newScale(&Axis{}, []float64{3, 97}, 0, 100)
	if s.min != 0 || s.max != 100 || s.at(50) != 50 || len(s.ticks()) != 6 {
		t.Errorf("%+v, ticks %v", s, s.ticks())
	}
	s = newScale(&Axis{Log: true}, []float64{1, 1000, -1}, 0, 90)
	if s.min != 1 || math.Abs(s.at(10)-30) > 1e-9 || s.shows(0) {
		t.Errorf("%+v, 10 is at %v", s, s.at(10))
	}
	s = newScale(&Axis{Min: 1, Max: 4}, nil, 0, 3)
	if s.at(2) != 1 {
		t.Errorf("2 is at %v", s.at(2))
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.25: "0.25", 12: "12", 1234: "1.23k", 100000: "100k", 2.5e6: "2.5M"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %s, want %s", v, got, want)
		}
	}
}
