package kafka

import (
	"strconv"

	"functiongraph-ingest/pkg/sink"
)

// Headers of a dead letter. Numbers are decimal, offsets are bytes from the start of the body. All dead letters
// have reason, size and topic and what Deps.Origin returns. Those that are a region of a body, and events larger than a batch, also
// have offset, error offset and body id.
const (
	HeaderReason      = "ingest-reason"
	HeaderTopic       = "ingest-topic"        // where it would have gone
	HeaderInstance    = "ingest-instance"     // of Deps.Origin: which process took it
	headerOffset      = "ingest-offset"       // where the bad region starts
	headerErrorOffset = "ingest-error-offset" // the byte that is wrong
	headerSize        = "ingest-size"         // of the whole, in bytes
	headerBodyID      = "ingest-body-id"
	headerPartition   = "ingest-partition" // with partition_unavailable: where the event belongs
	headerError       = "ingest-error"     // why the broker refused the event: name and number of its code, and its text
	headerTimestamp   = "ingest-timestamp" // ms since the Unix epoch; on every record whose own time the broker refused
	HeaderTruncated   = "ingest-truncated" // the value is only the beginning; the whole was set aside, or dropped
	headerSHA256      = "ingest-sha256"    // of the whole, hex; set with ingest-truncated
)

// fromBody adds the headers that say where in which body a record stood. errorOffset is -1 when nothing is wrong
// with the event itself.
func fromBody(h []sink.Header, offset, errorOffset int64, body uint64) []sink.Header {
	return append(h, sink.Header{Key: headerOffset, Value: strconv.AppendInt(nil, offset, 10)},
		sink.Header{Key: headerErrorOffset, Value: strconv.AppendInt(nil, errorOffset, 10)},
		sink.Header{Key: headerBodyID, Value: strconv.AppendUint(nil, body, 10)})
}
