package kafka

// Settle says when the source of a record hears that it is safe, and with that how eagerly the sink makes
// room on disk.
type Settle uint8

const (
	// SettleOnKafka: when Kafka has acknowledged it. Clients that wait can wait a little longer: batches go to
	// disk only when nothing has moved for a while.
	SettleOnKafka Settle = iota
	// SettleOnDisk: when it is in a durable frame; every batch has one before it is sent. Without a spool that
	// can be written it is as SettleOnKafka.
	SettleOnDisk
	// SettleAtOnce: no client waits. What does not fit into memory goes to disk before a delivery is refused.
	SettleAtOnce
)

// SpoolFull says what happens when memory and the spool are full.
type SpoolFull uint8

const (
	SpoolFullBlock      SpoolFull = iota // Append waits
	SpoolFullDropOldest                  // the oldest frames are dropped, reason "spool_full"
	SpoolFullDropNewest                  // what is appended is dropped, reason "spool_full"
)

// DroppedSpoolFull is the reason of events given up by SpoolFullDropOldest and SpoolFullDropNewest.
const DroppedSpoolFull = "spool_full"

// DroppedExpired is the reason of events that were on disk for longer than Config.SpoolMaxAge.
const DroppedExpired = "spool_expired"

// DroppedDamaged is the reason of events whose frame the disk has damaged; its bytes are in the spool's
// quarantine. And of those that were on disk at the end in files that others had removed.
const DroppedDamaged = "damaged"

func (f SpoolFull) String() string { return [...]string{"block", "drop-oldest", "drop-newest"}[f] }
