package pipeline

import (
	"testing"

	"functiongraph-ingest/pkg/decode"
)

// The category of an event decides, also where its name is spelled as the platform's own reference does, and where the
// platform has a name that is not known here. What is no event of the protocol goes to the first topic.
func TestTheCategoryDecidesTheTopic(t *testing.T) {
	p := &Pipeline{cfg: Config{Topics: Topics{Platform: 1, Function: 2, Extension: 3}}}
	dec := newDecoder(p)
	for text, want := range map[string]int{
		`{"name":"platform.start"}`:                 1,
		`{"name":" platform.initRuntimeDone, "}`:    1,
		`{"name":"platform.RuntimeDone"}`:           1,
		`{"name":"platform.restoreReport"}`:         1,
		`{"name":"platform.somethingNew","logs":1}`: 1,
		`{"name":"function","logs":"x"}`:            2,
		`{"name":"extension","logs":"x"}`:           3,
		`{"name":"platformer"}`:                     0,
		`{"name":"order","id":7}`:                   0,
		`{"id":7}`:                                  0,
		`{"name":17}`:                               0,
		`[{"name":"function",}]`:                    2,
		`[{"logs":x,"name":"platform.new"}]`:        1,
		`[{"logs":x}]`:                              0,
	} {
		dec.d.Reset([]byte(text), decode.Options{})
		if !dec.d.Next(&dec.e) {
			t.Fatal(text)
		}
		if got := dec.topic(); got != want {
			t.Errorf("%s goes to topic %d, want %d", text, got, want)
		}
	}
	one := Topics{}.table()
	if one != (topics{}) {
		t.Errorf("one topic: %v", one)
	}
}
