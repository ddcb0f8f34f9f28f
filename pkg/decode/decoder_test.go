package decode

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func lines(items []item) []string {
	var s []string
	for _, it := range items {
		s = append(s, it.String())
	}
	return s
}

func TestBodies(t *testing.T) {
	for _, c := range []struct {
		body  string
		want  []string
		notes Notes
	}{
		// Good ones.
		{``, nil, Notes{}},
		{" \t\r\n", nil, Notes{}},
		{`[]`, nil, Notes{}},
		{" [ \n] ", nil, Notes{}},
		{`{}`, []string{"unknown@0 {}"}, Notes{}},
		{`{"name":"function"}`, []string{`function@0 {"name":"function"}`}, Notes{}},
		{` [ {"a":1} , {"b":[]} ] `, []string{`unknown@3 {"a":1}`, `unknown@13 {"b":[]}`}, Notes{}},
		{"\xef\xbb\xbf[{}]", []string{"unknown@4 {}"}, Notes{ByteOrderMark: true}},

		// Commas.
		{`[{"a":1}{"b":2}]`, []string{`unknown@1 {"a":1}`, `unknown@8 {"b":2}`}, Notes{MissingCommas: 1}},
		{`[{"a":1},]`, []string{`unknown@1 {"a":1}`}, Notes{ExtraCommas: 1}},
		{`[,{"a":1},,{"b":2},,]`, []string{`unknown@2 {"a":1}`, `unknown@11 {"b":2}`}, Notes{ExtraCommas: 4}},

		// Commas and nothing else: no event, and no other trace of the body.
		{`[,]`, []string{"bad_structure@0(1) [,]"}, Notes{}},
		{`[,,,,]`, []string{"bad_structure@0(1) [,,,,]"}, Notes{}},
		{" [ \n, ] ", []string{"bad_structure@1(4) [ \n, ]"}, Notes{}},
		{`,`, []string{"bad_structure@0(0) ,"}, Notes{}},
		{` ,, ,`, []string{"bad_structure@1(1) ,, ,"}, Notes{}},
		{`,]`, []string{"bad_structure@0(0) ,]"}, Notes{}},
		{"\xef\xbb\xbf[,]\n", []string{"bad_structure@3(4) [,]"}, Notes{ByteOrderMark: true}},
		{"[,]\n[]", []string{"bad_structure@0(1) [,]\n[]"}, Notes{}},
		{"[]\n[,]", []string{"trailing_data@3(3) [,]"}, Notes{}},
		{`[,`, []string{"truncated@0(2) [,"}, Notes{}},
		{"[,]\n[{}]", []string{"unknown@5 {}"}, Notes{ExtraCommas: 1}},
		{`[,5,]`, []string{"not_object@2(2) 5"}, Notes{ExtraCommas: 2}},

		// A bad element between two good ones.
		{`[{},{"a":1,},{}]`, []string{"unknown@1 {}", `bad_structure@4(11) {"a":1,}`, "unknown@13 {}"}, Notes{}},
		{`[{},{"a":x},{}]`, []string{"unknown@1 {}", `bad_value@4(9) {"a":x}`, "unknown@12 {}"}, Notes{}},
		{`[{},{"a" 1},{}]`, []string{"unknown@1 {}", `bad_structure@4(9) {"a" 1}`, "unknown@12 {}"}, Notes{}},
		{`[{},{"a":1 "b":2},{}]`, []string{"unknown@1 {}", `bad_structure@4(11) {"a":1 "b":2}`, "unknown@18 {}"}, Notes{}},
		{`[{},{a:1},{}]`, []string{"unknown@1 {}", `bad_structure@4(5) {a:1}`, "unknown@10 {}"}, Notes{}},
		{`[{},{"a":01},{}]`, []string{"unknown@1 {}", `bad_value@4(10) {"a":01}`, "unknown@13 {}"}, Notes{}},
		{`[{},{"a":1.},{}]`, []string{"unknown@1 {}", `bad_value@4(11) {"a":1.}`, "unknown@13 {}"}, Notes{}},
		{`[{},{"a":tru},{}]`, []string{"unknown@1 {}", `bad_value@4(12) {"a":tru}`, "unknown@14 {}"}, Notes{}},
		{`[{},{"a":NaN},{}]`, []string{"unknown@1 {}", `bad_value@4(9) {"a":NaN}`, "unknown@14 {}"}, Notes{}},
		{`[{},{"a":[1,2},{}]`, []string{"unknown@1 {}", `bad_structure@4(13) {"a":[1,2}`, "unknown@15 {}"}, Notes{}},
		{`[{},{"a":1 /* one */},{}]`, []string{"unknown@1 {}", `bad_structure@4(11) {"a":1 /* one */}`, "unknown@22 {}"}, Notes{}},

		// No objects.
		{`[{},5,{}]`, []string{"unknown@1 {}", "not_object@4(4) 5", "unknown@6 {}"}, Notes{}},
		{`["x",null,[{}],true]`, []string{`not_object@1(1) "x"`, "not_object@5(5) null", "not_object@10(10) [{}]", "not_object@15(15) true"}, Notes{}},
		{`"text"`, []string{`not_object@0(0) "text"`}, Notes{}},
		{` null `, []string{"not_object@1(1) null"}, Notes{}},
		{`hello, world`, []string{"bad_value@0(0) hello, world"}, Notes{}},
		{`[foo, bar, {}]`, []string{"bad_value@1(2) foo", "bad_value@6(6) bar", "unknown@11 {}"}, Notes{}},
		{`[foo {}]`, []string{"bad_value@1(2) foo", "unknown@5 {}"}, Notes{}},

		// Lost brackets, braces, quotes.
		{`{"a":1},{"b":2}]`, []string{`unknown@0 {"a":1}`, `unknown@8 {"b":2}`, "trailing_data@15(15) ]"}, Notes{}},
		{`x{"a":1},{"b":2}]`, []string{"bad_value@0(0) x", `unknown@1 {"a":1}`, `unknown@9 {"b":2}`}, Notes{}},
		{`[{"a":1,{"b":2},{"c":3}]`, []string{`truncated@1(7) {"a":1`, `unknown@8 {"b":2}`, `unknown@16 {"c":3}`}, Notes{}},
		{`[{"a":"1},{"b":2},{"c":3}]`, []string{`truncated@1(9) {"a":"1}`, `unknown@10 {"b":2}`, `unknown@18 {"c":3}`}, Notes{}},
		{`[{"z":0},"a":1},{"b":2}]`, []string{`unknown@1 {"z":0}`, `bad_structure@9(12) "a":1}`, `unknown@16 {"b":2}`}, Notes{}},
		{`[{"a":1},]{"b":2},{"c":3}]`, []string{`unknown@1 {"a":1}`, `bad_structure@9(9) ]`, `unknown@10 {"b":2}`, `unknown@18 {"c":3}`}, Notes{}},
		{`[{"a":{"l":[{"x":1},{"y":2}]},x},{"b":2}]`, []string{`bad_structure@1(30) {"a":{"l":[{"x":1},{"y":2}]},x}`, `unknown@33 {"b":2}`}, Notes{}},

		{`,{"a":1}`, []string{`unknown@1 {"a":1}`}, Notes{ExtraCommas: 1}},
		{`]`, []string{"bad_structure@0(0) ]"}, Notes{}},
		{`0]`, []string{"not_object@0(0) 0"}, Notes{}},
		{`0,{}`, []string{"not_object@0(0) 0", "unknown@2 {}"}, Notes{}},
		{`[[{"a":1},{"b":2}]`, []string{"bad_structure@1(1) [", `unknown@2 {"a":1}`, `unknown@10 {"b":2}`}, Notes{}},

		{`[{"name":"function","g":1},["x",{"name":"function","g":2},{"name":"function","g":3}]`, []string{`function@1 {"name":"function","g":1}`,
			`bad_structure@27(27) ["x"`, `function@32 {"name":"function","g":2}`, `function@58 {"name":"function","g":3}`}, Notes{}},
		{`[{"n":"a","rows":["k":1},{"k":2}],"x":1},{"n":"b"},{"n":"c"}]`, []string{`bad_structure@1(21) {"n":"a","rows":["k":1},{"k":2}],"x":1}`,
			`unknown@41 {"n":"b"}`, `unknown@51 {"n":"c"}`}, Notes{}},
		{`[{"logs":"x},{"g":"m2"}]`, []string{`truncated@1(12) {"logs":"x}`, `unknown@13 {"g":"m2"}`}, Notes{}},
		{`[{"logs":"x}, ,{"g":"m2"}]`, []string{`truncated@1(14) {"logs":"x}, `, `unknown@15 {"g":"m2"}`}, Notes{}},

		// The end.
		{`[{"a":1}] x `, []string{`unknown@1 {"a":1}`, "trailing_data@10(10) x"}, Notes{}},
		{`[{"a":1}]{"b":2}`, []string{`unknown@1 {"a":1}`, `trailing_data@9(9) {"b":2}`}, Notes{}},
		{`[{"a":1}][{"b":2}]`, []string{`unknown@1 {"a":1}`, `trailing_data@9(9) [{"b":2}]`}, Notes{}},
		{`[] []`, []string{"trailing_data@3(3) []"}, Notes{}},
		{"[{\"a\":1}]\n[{\"b\":2},]\r\n []\n[{\"c\":3}", []string{`unknown@1 {"a":1}`, `unknown@11 {"b":2}`, `unknown@27 {"c":3}`}, Notes{ExtraCommas: 1, Unclosed: true}},
		{"[{}]\n[{},5,{\"a\":x},{}]", []string{"unknown@1 {}", "unknown@6 {}", "not_object@9(9) 5", `bad_value@11(16) {"a":x}`, "unknown@19 {}"}, Notes{}},
		{"[{}]\n[1]", []string{"unknown@1 {}", "trailing_data@5(5) [1]"}, Notes{}},
		{`{"a":1} x`, []string{`unknown@0 {"a":1}`, "trailing_data@8(8) x"}, Notes{}},
		{"{\"a\":1}\n{\"b\":2}\n", []string{`unknown@0 {"a":1}`, `unknown@8 {"b":2}`}, Notes{MissingCommas: 1}},
		{`[{"a":1},{"b`, []string{`unknown@1 {"a":1}`, `truncated@9(12) {"b`}, Notes{Unclosed: true}},
		{`[{"a":1},`, []string{`unknown@1 {"a":1}`}, Notes{ExtraCommas: 1, Unclosed: true}},
		{`[{"a":1}`, []string{`unknown@1 {"a":1}`}, Notes{Unclosed: true}},
		{` [ `, []string{"truncated@1(2) ["}, Notes{}},
		{`{`, []string{"truncated@0(1) {"}, Notes{}},
		{`{"a":12`, []string{`truncated@0(7) {"a":12`}, Notes{}},
	} {
		both(t, func(t *testing.T, o Options) {
			items, notes := run(t, []byte(c.body), o)
			if got := lines(items); !slices.Equal(got, c.want) {
				t.Errorf("%s\n got %q\nwant %q", c.body, got, c.want)
			}
			if notes != c.notes {
				t.Errorf("%s\nnotes %+v, want %+v", c.body, notes, c.notes)
			}
		})
	}
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		body  string
		want  []string
		notes Notes
	}{
		{"", nil, Notes{}},
		{"\n\r\n \n", nil, Notes{}},
		{"{}\n{}\r\n\n{}", []string{"unknown@0 {}", "unknown@3 {}", "unknown@8 {}"}, Notes{}},
		{"{\"a\":[\n{}\n]}\n", []string{`truncated@0(6) {"a":[`, "unknown@7 {}", "bad_structure@10(10) ]}"}, Notes{}},
		{"{\"a\":\"x\n{}\n", []string{`truncated@0(7) {"a":"x`, "unknown@8 {}"}, Notes{}},
		{"{\"a\":1}{\"b\":2}\n{}", []string{`unknown@0 {"a":1}`, `unknown@7 {"b":2}`, "unknown@15 {}"}, Notes{MissingCommas: 1}},
		{"{},{}\n{},\n{}", []string{"unknown@0 {}", "unknown@3 {}", "unknown@6 {}", "unknown@10 {}"}, Notes{ExtraCommas: 2}},
		{"{} x\n{}", []string{"unknown@0 {}", "trailing_data@3(3) x", "unknown@5 {}"}, Notes{}},
		{"[{}]\n{}", []string{"unknown@1 {}", "unknown@5 {}"}, Notes{}},
		{"[{},{}]\r\n[]\n [ {} ] \n{}", []string{"unknown@1 {}", "unknown@4 {}", "unknown@15 {}", "unknown@21 {}"}, Notes{}},
		{"[{}{},]\n[{}\n{}", []string{"unknown@1 {}", "unknown@3 {}", "unknown@9 {}", "unknown@12 {}"}, Notes{MissingCommas: 1, ExtraCommas: 1, Unclosed: true}},
		{"[{},5,{\"a\":x},{}]\n{}", []string{"unknown@1 {}", "not_object@4(4) 5", `bad_value@6(11) {"a":x}`, "unknown@14 {}", "unknown@18 {}"}, Notes{}},
		{"[{}] x\n{}", []string{"unknown@1 {}", "trailing_data@5(5) x", "unknown@7 {}"}, Notes{}},
		{"[{\"a\":\n{}", []string{`truncated@1(6) {"a":`, "unknown@7 {}"}, Notes{Unclosed: true}},
		{"[1]\n{}", []string{"not_object@0(0) [1]", "unknown@4 {}"}, Notes{}},
		{"{}[{}]\n", []string{"unknown@0 {}", "trailing_data@2(2) [{}]"}, Notes{}},
		{"{\"a\":x} {\"b\":2}\n{}", []string{`bad_value@0(5) {"a":x}`, `unknown@8 {"b":2}`, "unknown@16 {}"}, Notes{}},
		{",\n", []string{"bad_structure@0(0) ,"}, Notes{}},
		{"\n,,\n ,\n", []string{"bad_structure@1(1) ,,\n ,"}, Notes{}},
		{"[]\n,\n", []string{"bad_structure@0(3) []\n,"}, Notes{}},
		{",\n{}\n,\n", []string{"unknown@2 {}"}, Notes{ExtraCommas: 2}},
		{"[{}]\n,\n", []string{"unknown@1 {}"}, Notes{ExtraCommas: 1}},
		{"[,]\n", []string{"bad_structure@0(1) [,]"}, Notes{}},
		{"7\nx\n{}", []string{"not_object@0(0) 7", "bad_value@2(2) x", "unknown@4 {}"}, Notes{}},
		{"\xef\xbb\xbf{}\n", []string{"unknown@3 {}"}, Notes{ByteOrderMark: true}},
	} {
		both(t, func(t *testing.T, o Options) {
			o.NDJSON = true
			items, notes := run(t, []byte(c.body), o)
			if got := lines(items); !slices.Equal(got, c.want) {
				t.Errorf("%q\n got %q\nwant %q", c.body, got, c.want)
			}
			if notes != c.notes {
				t.Errorf("%q\nnotes %+v, want %+v", c.body, notes, c.notes)
			}
		})
	}
}

// What strict refuses and lenient lets pass, inside strings only: in values, keys and nested ones.
func TestStrictAndLenient(t *testing.T) {
	long := strings.Repeat("some text ", 20)
	for _, c := range []struct {
		text   string // content of a string
		strict Reason
		at     int // offset of the fault in text
	}{
		{"plain", OK, 0},
		{`\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00`, OK, 0},
		{`lone \ud800 and \udc00\ud800`, OK, 0},
		{"日本語 é 😀", OK, 0},
		{"a\x7f", OK, 0},
		{"ab\x00c", BadString, 2},
		{"ab\nc", BadString, 2},
		{"a\x1f", BadString, 1},
		{`ab\x`, BadString, 3},
		{`ab\u12g4`, BadString, 6},
		{`ab\u12`, BadString, 6}, // the quote behind it
		{"ab\xffc", InvalidUTF8, 2},
		{"ab\xc3", InvalidUTF8, 2},
		{"\xed\xa0\x80", InvalidUTF8, 0}, // a surrogate
		{"\xc0\x80", InvalidUTF8, 0},     // overlong
		{"\xf4\x90\x80\x80", InvalidUTF8, 0},
	} {
		for _, pad := range []string{"", "x", long} {
			for _, frame := range []string{`{"logs":"%s"}`, `{"name":"%s"}`, `{"traceId":"%s"}`, `{"startTime":"%s"}`, `{"x":"%s"}`, `{"%s":1}`,
				`{"metrics":{"podName":"%s"}}`, `{"metrics":{"%s":1}}`, `{"x":{"y":["%s"]}}`, `{"x":[{"%s":[]}]}`} {
				el := fmt.Sprintf(frame, pad+c.text)
				body := "[{}," + el + ",{}]"
				at := 4 + strings.Index(frame, "%s") + len(pad) + c.at
				items, _ := run(t, []byte(body), Options{})
				if len(items) != 3 || items[1].reason != c.strict || items[1].raw != el || c.strict != OK && items[1].errOff != at {
					t.Errorf("strict %q: %v, want %v at %d", body, lines(items), c.strict, at)
				}
				items, _ = run(t, []byte(body), Options{Lenient: true})
				if len(items) != 3 || items[1].reason != OK || items[1].raw != el {
					t.Errorf("lenient %q: %v", body, lines(items))
				}
			}
		}
	}
}

// The platform's reference prints five samples, of which two are no JSON. In one array they cost nobody else.
func TestSamplesOfTheReference(t *testing.T) {
	body, err := os.ReadFile("testdata/samples.json")
	if err != nil {
		t.Fatal(err)
	}
	const id = "69be64a7-0233-11e8-82e4-e5d37911193e"
	both(t, func(t *testing.T, o Options) {
		items, notes := run(t, body, o)
		if len(items) != 5 || notes.Any() {
			t.Fatalf("%v, %+v", lines(items), notes)
		}
		for i, want := range []struct {
			kind   Kind
			reason Reason
			fault  string // what stands at the error offset
		}{{InitStart, OK, ""}, {Unknown, BadStructure, "}"}, {Unknown, BadValue, "pool22"}, {Function, OK, ""}, {Extension, OK, ""}} {
			it := items[i]
			if it.kind != want.kind || it.reason != want.reason {
				t.Errorf("%d: %v %v, want %v %v", i, it.kind, it.reason, want.kind, want.reason)
			}
			if want.reason != OK && !strings.HasPrefix(string(body[it.errOff:]), want.fault) {
				t.Errorf("%d: the fault is at %q, want %q", i, body[it.errOff:it.errOff+6], want.fault)
			}
		}
		first := strings.Index(string(body), ",}") + 1
		second := strings.Index(string(body), "pool22")
		if items[1].errOff != first || items[2].errOff != second {
			t.Errorf("offsets %d %d, want %d %d", items[1].errOff, items[2].errOff, first, second)
		}
		if want := joined("platform.initStart", id, id, "2023-02-01T00:03:50.000Z", "", "", "", ""); items[0].fields != want {
			t.Errorf("fields %s", items[0].fields)
		}
	})
}

func TestDepth(t *testing.T) {
	nest := func(open, close string, n int) string { return strings.Repeat(open, n) + strings.Repeat(close, n) }
	for _, pad := range []int{0, 3000} { // a long value takes another way in lenient mode
		for _, f := range []func(n int) string{
			func(n int) string { return `{"x":` + nest("[", "]", n-1) + `}` },
			func(n int) string { return nest(`{"x":`, "}", n-1)[:5*(n-1)] + "{}" + strings.Repeat("}", n-1) },
			func(n int) string { return `{"metrics":` + nest("[", "]", n-1) + `}` },
			func(n int) string { return `{"x":["` + strings.Repeat("[{", 600) + `",` + nest("[", "]", n-2) + `]}` },
		} {
			both(t, func(t *testing.T, o Options) {
				for _, n := range []int{3, 500, MaxDepth - 1, MaxDepth, MaxDepth + 1, MaxDepth + 2, 1000, 4095, 4097, 20000} {
					el := f(n)
					el = el[:len(el)-1] + `,"pad":["` + strings.Repeat(" ", pad) + `"]}`
					items, _ := run(t, []byte("[{},"+el+",{}]"), o)
					want := OK
					if n > MaxDepth {
						want = TooDeep
					}
					if len(items) != 3 || items[1].reason != want || items[1].raw != el || items[2].reason != OK {
						t.Fatalf("depth %d: %d items, %v, want %v", n, len(items), items[1].reason, want)
					}
				}
			})
		}
	}
}
