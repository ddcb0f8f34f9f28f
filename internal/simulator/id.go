package simulator

import (
	"bytes"
	"fmt"
	"strconv"
)

// ID names an event for good: the stream of its generator and the event's number in that stream. The
// numbers of a stream begin at 0, have no gaps, and are given in the order of the bodies: of two events of
// one invocation the one that comes first has the lower ID.
type ID uint64

const (
	idMark   = "evt-"
	idDigits = 16
	seqBits  = 48
)

func makeID(stream uint16, seq uint64) ID { return ID(uint64(stream)<<seqBits | seq) }

// Stream is the stream of the event's generator.
func (id ID) Stream() uint16 { return uint16(id >> seqBits) }

// Seq is the event's number in its stream.
func (id ID) Seq() uint64 { return uint64(id) & (1<<seqBits - 1) }

// String is the ID as it stands in the event.
func (id ID) String() string { return fmt.Sprintf(idMark+"%016x", uint64(id)) }

// AppendIDs appends all IDs that occur in raw, which may be any bytes.
func AppendIDs(dst []ID, raw []byte) []ID {
	for {
		i := bytes.Index(raw, []byte(idMark))
		if i < 0 {
			return dst
		}
		raw = raw[i+len(idMark):]
		if len(raw) < idDigits {
			return dst
		}
		if n, err := strconv.ParseUint(string(raw[:idDigits]), 16, 64); err == nil {
			dst = append(dst, ID(n))
		}
	}
}
