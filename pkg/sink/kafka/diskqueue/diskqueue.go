// Package diskqueue is what the Kafka sink asks of a spool: queues of frames on disk, one queue per partition, one frame
// per batch. It has types only; package spool implements it.
package diskqueue

import (
	"errors"
	"fmt"
)

// Spool is a directory of queues. Batches go there when memory runs short, when the sink ends before they are
// delivered, or before they are sent, if clients are answered from the disk.
//
// The sink calls it from several goroutines, but appends from one at a time, and each queue has one owner, the
// partition's lane. Nothing in it may call back into the sink.
type Spool interface {
	// Queue returns the queue of a partition, which is the same one each time. A topic has at most 249 bytes, as in
	// Kafka; a longer one is cut.
	Queue(topic string, partition int32) Queue
	// Queues returns those that have frames: after the spool was opened, all that were recovered.
	Queues() []Queue
	// Append writes frames to the ends of their queues, in order, so that they outlive the process. n of them are there;
	// the error is about the next one. It wraps ErrFull if there is no room; any other error means that the disk failed.
	Append(frames []Write) (n int, err error)
	// Room returns nil if a batch of so many bytes could be appended now, else the error that Append would return.
	Room(bytes int64) error
	// Sending persists the stamps of frames before their first send. After an error some of them may not be persisted.
	Sending(frames []Sent) error
	// Sync makes the frames at first to last outlive the machine.
	Sync(first, last Pos) error
	// SetAside keeps an event whole that no topic takes; it is durable when SetAside returns. raw is not retained.
	SetAside(raw []byte, sha256 [32]byte) error
	Counts() Counts
	// WriteCursors writes the cursors that DoneSoon left behind, and makes durable what DoneDurably could not.
	WriteCursors() error
	// DoneDurably is Queue.Done, and outlives the machine: a loss of power brings none of the frames back. After
	// an error it may bring back all of them, until WriteCursors succeeds.
	DoneDurably(q Queue, pos Pos) error
	// Close makes everything durable and lets the directory go. It is idempotent.
	Close() error
}

// Queue is one partition's frames, first in, first out.
type Queue interface {
	Topic() string
	Partition() int32
	// Head returns the oldest frame that is not done, its size on disk and its events. It does not read the disk.
	Head() (pos Pos, bytes int64, events int, ok bool)
	// HeadWritten reads when the oldest frame that is not done was written, in ms since the Unix epoch; 0: there is no
	// frame, or its header cannot be read, which PeekAfter reports.
	HeadWritten() (pos Pos, at int64)
	// Tail returns the newest frame that is not done; 0: there is none.
	Tail() Pos
	// Partitions is what Meta.Partitions of the newest frame was that was found or appended; 0: not known.
	Partitions() uint16
	// Len counts the frames that are not done, their events, and their bytes on disk.
	Len() (frames int, events, bytes int64)
	// PeekAfter reads the oldest frame behind pos that is not done; io.EOF: there is none. Frame.Batch is in the memory of
	// buf if that is large enough, else in new memory: pass Batch[:0] the next time and nothing is allocated. A frame
	// that is damaged is skipped and counted.
	PeekAfter(pos Pos, buf []byte) (Frame, Pos, error)
	// Read reads the frame at pos as PeekAfter does. io.EOF: it is done. ErrDamaged: it is no more, and its events are the
	// caller's to count.
	Read(pos Pos, buf []byte) (Frame, error)
	// Discard ends the frame at pos, whose batch its reader cannot make sense of, as one that Read finds damaged. false: it is
	// done, or the spool is closed.
	Discard(pos Pos, reason error) bool
	// Done ends the frames up to and including pos. Positions that are done already are no error.
	Done(pos Pos) error
	// DoneSoon is Done for a frame that was acknowledged, without the write: the cursor is written with the queue's next
	// Sending, by WriteCursor, WriteCursors or Close. If the process is killed before that, the frame comes back as the
	// one in doubt.
	DoneSoon(pos Pos) error
	// WriteCursor writes the queue's cursor if DoneSoon left it behind.
	WriteCursor() error
	// Doubt returns the frame that was being sent when the last process ended, or that Sending has named since, and its
	// stamp. It must be sent again under that stamp before anything else of the partition.
	Doubt() (Pos, Stamp, bool)
	// Suspect returns the position up to which frames may have been delivered by an earlier process.
	Suspect() (pos Pos, ok bool)
}

// Pos is the place of a frame: the number of its segment file and its offset there. Later frames have greater positions,
// in all queues of a spool and across restarts; 0 is none.
type Pos uint64

// PosOf returns the position of a frame in a segment.
func PosOf(segment uint32, offset int64) Pos { return Pos(segment)<<32 | Pos(uint32(offset)) }

// Segment is the number of the segment file.
func (p Pos) Segment() uint32 { return uint32(p >> 32) }

// Offset is where the frame starts in its segment file, in bytes.
func (p Pos) Offset() int64 { return int64(uint32(p)) }

// String is "segment:offset".
func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.Segment(), p.Offset()) }

// Meta is what a frame tells of its batch. The spool only stores it.
type Meta struct {
	Events         int32 // for the ledger
	Records        int32
	FirstTimestamp int64 // ms since the Unix epoch
	WrittenAt      int64 // ms since the Unix epoch; 0: Append sets it to now
	// Partitions is how many the topic had when its records were placed: events with the same key that come later go where
	// these are only by the same count. 0: not known.
	Partitions uint16
	// Replaces is a frame of another queue that is to be done when all is written that replaces it; 0: none. If the
	// process ends before that, the next one finds that frame alone, and what replaces it is void. A full spool has room
	// for it. What of it was sent by then comes a second time.
	Replaces Pos
}

// Write is a frame to be written.
type Write struct {
	Queue Queue
	Meta
	Batch    [][]byte // one piece after the other; not retained
	Checksum uint32   // CRC-32C of Batch; 0: Append computes it
	// InDoubt: the batch was sent under Stamp and has no answer yet. The stamp is persisted before the frame, so that a
	// kill leaves neither or both. No other frame of the queue may be in doubt. Where one stands before it, a kill while that
	// one is sent leaves only that one's stamp.
	InDoubt bool
	Stamp   Stamp

	Pos Pos // set by Append
}

// Frame is a frame as it is read back.
type Frame struct {
	Topic     string
	Partition int32
	Meta
	Batch []byte
}

// Stamp is what a batch carried when it was first sent; the same bytes must be sent again.
type Stamp struct {
	ProducerID   int64
	Epoch        int16
	BaseSequence int32
	FirstSent    int64 // ms since the Unix epoch
	// Cluster is the id of the cluster that gave ProducerID; "": not known. On another cluster the stamp means nothing, or
	// another producer's batch. At most 127 bytes are kept.
	Cluster string
}

// Sent is a frame and the stamp that it is sent under.
type Sent struct {
	Queue Queue
	Pos   Pos
	Stamp Stamp
}

// Counts are counts of events since the spool was opened, and what else is known without a look at the disk.
type Counts struct {
	Recovered   int64 // found when it was opened, in good frames and in damaged ones
	Quarantined int64 // of them, in damaged ones: they are not delivered
	// Lost are those in frames that were good when they were counted and that PeekAfter has found damaged, and after Close
	// those in files that no other process finds.
	Lost int64

	// FramesLeft is how many more frames that replace others have room in memory, where each has an entry.
	FramesLeft int

	NoSync bool // there is no disk below, so Sync does not wait for one
}

var (
	// ErrFull is wrapped by Append when the spool's bounds leave no room.
	ErrFull = errors.New("spool: full")
	// ErrDamaged is returned by Read for a frame that is damaged.
	ErrDamaged = errors.New("spool: damaged frame")
	// ErrBusy is wrapped by the function that opens a spool while another process has the directory.
	ErrBusy = errors.New("spool: directory is in use by another process")
)
