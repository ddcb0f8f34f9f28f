package kafka

import "errors"

// Spool is a disk queue that the sink may be given: batches go there when memory runs short, when the sink
// ends before they are delivered, or all of them ([SettleOnDisk]). Positions are those of frames: they grow
// with each Append of any queue, and 0 is none.
//
// The sink calls it from several goroutines, but appends from one at a time, and each queue belongs to one
// lane. Nothing in it may call back into the sink.
type Spool interface {
	// Queue is the queue of a partition, the same one each time.
	Queue(topic string, partition int32) SpoolQueue
	// Queues are those that have frames: what was recovered.
	Queues() []SpoolQueue
	// Append writes frames to the ends of their queues, in order, so that they outlive the process. n of them
	// are there; an error says why the next one is not: one that wraps ErrSpoolFull, that there is no room, any
	// other, that the disk failed.
	Append(frames []SpoolWrite) (n int, err error)
	// Room is nil if a batch of so many bytes could be appended now, else why not, as Append would say.
	Room(bytes int64) error
	// Sending notes the stamps of frames before their first send. An error: perhaps not of all of them.
	Sending(frames []SpoolSent) error
	// Sync makes the frames at first to last outlive the machine.
	Sync(first, last uint64) error
	// SetAside keeps an event whole that no topic takes; durable when it returns.
	SetAside(raw []byte, sha256 [32]byte) error
	Stats() SpoolStats
	// WriteCursors writes down what DoneSoon has left.
	WriteCursors() error
	// SyncCursors makes what Done has written outlive the machine.
	SyncCursors() error
	// Close makes everything durable and lets the directory go.
	Close() error
}

// SpoolQueue is one partition's frames, first in, first out.
type SpoolQueue interface {
	Topic() string
	Partition() int32
	// Head is the oldest frame that is not done. It does not read the disk.
	Head() (pos uint64, bytes int64, events int, ok bool)
	// HeadWritten reads when the oldest frame that is not done was written, ms since the Unix epoch; 0: not known.
	HeadWritten() (pos uint64, at int64)
	// Tail is the newest frame that is not done; 0: there is none.
	Tail() uint64
	// Bytes are those of the frames that are not done.
	Bytes() int64
	// PeekAfter reads the oldest frame behind pos that is not done, into buf if that is large enough. One that
	// is damaged is passed over and counted in Stats.
	PeekAfter(pos uint64, buf []byte) (SpoolFrame, error)
	// Done ends the frames up to and including pos.
	Done(pos uint64) error
	// DoneSoon is Done for a frame that was acknowledged. It need not be written down before the queue's next
	// Sending, WriteCursor, or the spool's WriteCursors: until then the frame may come back as the one in
	// doubt.
	DoneSoon(pos uint64) error
	WriteCursor() error
	// Doubt is the frame that was being sent when the last process ended.
	Doubt() (pos uint64, st SpoolStamp, ok bool)
	// Suspect: frames up to this position may have been delivered by the last process.
	Suspect() (pos uint64, ok bool)
}

// SpoolMeta is what a frame tells of its batch.
type SpoolMeta struct {
	Events, Records int
	FirstTimestamp  int64 // ms since the Unix epoch
	WrittenAt       int64 // ms since the Unix epoch; 0: now, as Append sets it
	// Replaces is a frame of another queue that is to be done when everything is written that replaces it; 0: none.
	// If the process ends before that, what replaces it must not come back. There must be room for it in a
	// full spool.
	Replaces uint64
}

// SpoolWrite is a frame to be written.
type SpoolWrite struct {
	Queue SpoolQueue
	SpoolMeta
	Wire     [][]byte // the batch in pieces; not retained
	Checksum uint32   // CRC-32C of it
	// InDoubt: it was sent, under Stamp, and has no answer. It is the queue's oldest.
	InDoubt bool
	Stamp   SpoolStamp
	Pos     uint64 // set by Append
}

// SpoolFrame is a frame that was read.
type SpoolFrame struct {
	SpoolMeta
	Pos  uint64
	Wire []byte // the batch; in the memory given to PeekAfter if that was large enough
	Buf  []byte // all of that memory, for the next call
}

// SpoolStamp is what a batch was first sent with; the same bytes must be sent again.
type SpoolStamp struct {
	ProducerID   int64
	Epoch        int16
	BaseSequence int32
	FirstSent    int64 // ms since the Unix epoch
	// Cluster is the id of the cluster that gave ProducerID; "": not known. On another cluster the stamp means
	// nothing, or another producer's batch.
	Cluster string
}

// SpoolSent is a frame and the stamp that it goes out under.
type SpoolSent struct {
	Queue SpoolQueue
	Pos   uint64
	Stamp SpoolStamp
}

// SpoolStats are counts of events.
type SpoolStats struct {
	Recovered   int64 // found at the start, in good frames and in damaged ones
	Quarantined int64 // of them, in damaged ones: they will not be delivered
	Lost        int64 // in frames that were good when they were counted and are damaged now

	// NoSync: there is no disk below, so Sync neither waits nor fails.
	NoSync bool
}

var (
	// ErrSpoolFull is wrapped by Append when the spool's bounds leave no room.
	ErrSpoolFull = errors.New("spool is full")
	// ErrSpoolBusy is wrapped by Deps.OpenSpool while another process has the directory.
	ErrSpoolBusy = errors.New("spool is in use by another process")
)

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
// quarantine.
const DroppedDamaged = "damaged"

func (f SpoolFull) String() string { return [...]string{"block", "drop-oldest", "drop-newest"}[f] }
