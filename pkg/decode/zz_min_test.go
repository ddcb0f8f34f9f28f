package decode
import ("testing";"time";"os";"strconv")
func TestMin(t *testing.T) {
	if os.Getenv("MIN")=="" {t.Skip()}
	rounds,_ := strconv.Atoi(os.Getenv("MIN"))
	for _, p := range []struct {
		name string
		profile
	}{{"heavy", heavy}, {"light", light}, {"small", small}, {"chinese", chinese}} {
		for _, size := range []int{64<<10, 1<<20} {
			body, n := p.body(size)
			cs := contenders()
			best := make([]time.Duration, len(cs))
			for i := range best { best[i]=1<<60 }
			for r := 0; r < rounds; r++ {
				for i, c := range cs {
					if c.name=="encoding-json" && r > 3 {continue}
					if c.name=="sonic-unmarshal" && r > 20 {continue}
					t0 := time.Now()
					if c.run(body)!=n {t.Fatal(c.name)}
					best[i]=min(best[i], time.Since(t0))
				}
			}
			for i, c := range cs {
				t.Logf("%-8s %5dK %-16s %6.2f GB/s %7.1f ns/event (avg %d B)", p.name, size>>10, c.name, float64(len(body))/float64(best[i].Nanoseconds()), float64(best[i].Nanoseconds())/float64(n), len(body)/n)
			}
		}
	}
}
