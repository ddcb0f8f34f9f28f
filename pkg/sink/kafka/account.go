package kafka

// account is the sink's part of the ledger. core.mu guards it, and each event moves from one term to another
// within one hold of that lock. So at every instant
//
//	admitted + recovered = delivered + deadLettered + setAside + spooled + inFlight + sum(dropped)
type account struct {
	admitted, recovered               int64
	delivered, deadLettered, setAside int64
	spooled, inFlight                 int64
	dropped                           map[string]int64 // by reason
}

// admit counts n events that the sink has taken into memory.
func (c *account) admit(n int) {
	c.admitted += int64(n)
	c.inFlight += int64(n)
}

// toDisk counts n events that leave memory for the disk; below 0 they are read back.
func (c *account) toDisk(n int) {
	c.inFlight -= int64(n)
	c.spooled += int64(n)
}
