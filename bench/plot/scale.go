package plot

import (
	"math"
	"strconv"
)

// scale maps values to pixels.
type scale struct {
	min, max float64
	log      bool
	from, to float64 // pixels
}

func newScale(a *Axis, values []float64, from, to float64) *scale {
	s := &scale{min: a.Min, max: a.Max, log: a.Log, from: from, to: to}
	if a.Min == 0 && a.Max == 0 {
		s.min, s.max = math.Inf(1), math.Inf(-1)
		for _, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) || a.Log && v <= 0 {
				continue
			}
			s.min, s.max = math.Min(s.min, v), math.Max(s.max, v)
		}
		if s.min > s.max {
			s.min, s.max = 1, 10
		}
		s.widen()
	}
	return s
}

// widen moves the ends to round values.
func (s *scale) widen() {
	if s.log {
		s.min = math.Pow(10, math.Floor(math.Log10(s.min)*2)/2) // half decades: 1, 3.16, 10
		s.max = math.Pow(10, math.Ceil(math.Log10(s.max)*2)/2)
		if s.min == s.max {
			s.max *= 10
		}
		return
	}
	s.min = math.Min(0, s.min)
	if s.max <= s.min {
		s.max = s.min + 1
	}
	step := stepFor(s.max - s.min)
	// The last value keeps a little room above it.
	s.max = math.Ceil(s.max*1.02/step) * step
}

func (s *scale) at(v float64) float64 {
	part := (v - s.min) / (s.max - s.min)
	if s.log {
		part = math.Log(v/s.min) / math.Log(s.max/s.min)
	}
	return s.from + part*(s.to-s.from)
}

// shows reports whether v has a place on the axis.
func (s *scale) shows(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && !(s.log && v <= 0)
}

func (s *scale) ticks() (t []float64) {
	const nearly = 1e-9
	if !s.log {
		step := stepFor(s.max - s.min)
		for i := math.Ceil(s.min/step - nearly); i*step <= s.max*(1+nearly); i++ {
			t = append(t, i*step+0) // 0 instead of -0
		}
		return t
	}
	factors := []float64{1, 2, 5}
	if s.max/s.min > 1e4 {
		factors = factors[:1]
	}
	for decade := math.Pow(10, math.Floor(math.Log10(s.min))); decade <= s.max*(1+nearly); decade *= 10 {
		for _, f := range factors {
			if v := f * decade; v >= s.min*(1-nearly) && v <= s.max*(1+nearly) {
				t = append(t, v)
			}
		}
	}
	return t
}

// stepFor is a round distance that divides a length into about five parts.
func stepFor(length float64) float64 {
	raw := length / 5
	decade := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*decade >= raw*(1-1e-9) {
			return f * decade
		}
	}
	return 10 * decade
}

// short writes a number with three digits and k or M.
func short(v float64) string {
	suffix := ""
	switch a := math.Abs(v); {
	case a >= 1e6:
		v, suffix = v/1e6, "M"
	case a >= 1e3:
		v, suffix = v/1e3, "k"
	}
	digits, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		digits = v
	}
	return strconv.FormatFloat(digits, 'f', -1, 64) + suffix
}
