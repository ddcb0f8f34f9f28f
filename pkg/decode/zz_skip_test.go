package decode
import ("testing";"strings";"fmt")
func BenchmarkContainer(b *testing.B) {
	d := Decoder{}
	l := Decoder{lenient:true}
	nested := `{"a":{"b":[1,2,3,{"cc":"value text","dd":null,"ee":true}],"key":"some text value here"},"list":["alpha","beta","gamma"],"n":-12.5e3}`
	for _, v := range []struct{n, s string}{
		{"nested", nested}, {"nested1K", `{"x":[`+strings.Repeat(nested+",",8)+`0]}`}, {"nested16K", `{"x":[`+strings.Repeat(nested+",",128)+`0]}`},
		{"ints", `[`+strings.Repeat("12345,",200)+`0]`},
		{"floats", `[`+strings.Repeat("1.2345678,",200)+`0]`},
		{"bigstrings", `[`+strings.Repeat(`"`+strings.Repeat("lorem ipsum ",30)+`",`,20)+`0]`},
		{"escapes", `[`+strings.Repeat(`"`+strings.Repeat(`lorem \"ipsum `,30)+`",`,20)+`0]`},
		{"pretty", strings.ReplaceAll(nested, ",", ",\n      ")},
	} {
		s := []byte(v.s+strings.Repeat(" ", 64))
		for _, c := range []struct{n string; f func() int}{
			{"skip", func() int { return skip(s,0)}},
			{"strict", func() int {return d.container(s,0)}},
			{"lenient", func() int {return l.container(s,0)}},
			{"validate", func() int {e,_,_ := validate(s,0,511,false); return e}},
		} {
			b.Run(fmt.Sprintf("%s/%s", v.n,c.n), func(b *testing.B) {
				b.SetBytes(int64(len(v.s)))
				for b.Loop() { if c.f() != len(v.s) {b.Fatal(c.f())}}
			})
		}
	}
}
