package listen

import (
	"io"
	"testing"
)

// TestAllocs: a delivery in steady state costs one allocation, of 24 bytes, in fasthttp: its
// server discards what a handler left of a streamed body through io.CopyN, also when nothing is left.
// Nothing of ours allocates. The client and the consumer of this test allocate nothing either.
func TestAllocs(t *testing.T) {
	for _, ack := range []bool{true, false} {
		r := start(t, withConfig(func(c *Config) { c.WaitForAck = ack }), withQuiet())
		cl := r.dial()
		request, answer := benchRequest(), make([]byte, 512)
		got := testing.AllocsPerRun(3000, func() {
			if _, err := cl.Write(request); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < 4 || string(answer[n-4:n]) != "\r\n\r\n"; {
				m, err := io.ReadAtLeast(cl, answer[n:], 1)
				if err != nil {
					t.Fatal(err)
				}
				n += m
			}
		})
		most := 1.0
		if raceEnabled {
			most = 3
		}
		if got > most {
			t.Errorf("ack %v: %v allocations per delivery", ack, got)
		}
	}
}
