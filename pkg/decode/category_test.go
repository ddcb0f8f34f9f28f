package decode

import "testing"

func TestCategories(t *testing.T) {
	for text, want := range map[string]Category{
		`{"name":"platform.start"}`:                 FromPlatform,
		`{"name":" platform.initRuntimeDone, "}`:    FromPlatform,
		`{"name":"platform.somethingNew","logs":1}`: FromPlatform,
		`{"name":" Platform.SomethingNew "}`:        FromPlatform,
		`{"name":"pl\u0061tform.x"}`:                FromPlatform,
		`{"name":"platform."}`:                      Uncategorized,
		`{"name":"platformer"}`:                     Uncategorized,
		`{"name":"function","logs":"x"}`:            FromFunction,
		`{"NAME":"Function"}`:                       FromFunction,
		`{"name":"extension","logs":"x"}`:           FromExtension,
		`{"name":"order","id":7}`:                   Uncategorized,
		`{"id":7}`:                                  Uncategorized,
		`{"name":17}`:                               Uncategorized,
		`{}`:                                        Uncategorized,
		"":                                          Uncategorized,
		`[{"name":"function",}]`:                    FromFunction,
		`[{"name":"function","logs":"a` + "\x01" + `b"}]`:    FromFunction,
		`[{"logs":pool22,"name" : "extension"}]`:             FromExtension,
		`[{"name":"platform.new","logs":nul}]`:               FromPlatform,
		`[{"name":"function","logs":{"name":"extension"},}]`: Uncategorized, // which of them is not certain
		`[{"name":"function","logs":{"name":"function"},}]`:  FromFunction,
		`[{"name":"func`:        Uncategorized,
		`[{"nam":"function",}]`: Uncategorized,
		`[17]`:                  Uncategorized,
		`[{"name":"function","traceId":"` + long(MaxTraceID+1) + `"}]`:   FromFunction,
		`[{"name":"` + long(maxSalvaged+1) + `","name":"function",}]`:    FromFunction,
		`[{"logs":"says \"name\":\"extension\" to","name":"function",}]`: FromFunction,
	} {
		var d Decoder
		var e Event
		d.Reset([]byte(text), Options{})
		if !d.Next(&e) {
			if text == "" {
				continue
			}
			t.Fatalf("nothing in %.80s", text)
		}
		if got := e.Category(); got != want {
			t.Errorf("%.80s: %d, want %d", text, got, want)
		}
		if n := testing.AllocsPerRun(10, func() { e.Category() }); n != 0 {
			t.Errorf("%.80s: %v allocations", text, n)
		}
	}
}

func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}
