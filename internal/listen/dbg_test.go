package listen
import ("testing";"time";"os";"runtime/pprof";"fmt")
func TestDbg(t *testing.T) {
	for i:=0;i<20;i++ {
	t.Run("x", func(t *testing.T){
	tm := time.AfterFunc(8*time.Second, func(){ pprof.Lookup("goroutine").WriteTo(os.Stderr,1) })
	defer tm.Stop()
	TestSlowReader(t)
	})
	}
	fmt.Println()
}
