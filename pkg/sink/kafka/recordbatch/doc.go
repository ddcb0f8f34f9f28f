// Package recordbatch builds Kafka record batches (format v2, magic 2) in place: a record is encoded
// straight into the bytes that go to the socket, and that is the only copy of it.
//
// A [Batch] is a list of fixed-size chunks from one bounded [Pool], not one growing buffer. So a batch
// grows from one chunk to its full size without a copy, chunks of one size cannot fragment the pool,
// and 256 partitions with one open batch each need 256 chunks = 4 MiB, not 256 full-size buffers.
//
// # Life of a batch
//
//	open ──TryAppend──▶ open ──Compress──▶ sealed ──Stamp──▶ stamped ──Stamp──▶ stamped ──▶ Release
//
// Compress is optional. Appending to a sealed or stamped batch is a bug and panics: the bytes of a
// stamped batch may be in doubt at a broker and must not change. Stamp may be called again with other
// values (producer state lost).
//
// # Ownership
//
// A Batch belongs to one goroutine at a time; a Pool may be used by all. What TryAppend is given is
// copied before it returns. A [Reader] lends the bytes of a stamped batch to kafka-go; the batch must
// not be stamped again or released until the request has ended or [Reader.Abandon] has returned.
//
// # Wire layout
//
// All integers are big endian, offsets are from the start of the wire bytes; chunk i holds the bytes
// from i*ChunkSize on. Source: Apache Kafka protocol guide, "Record Batch".
//
//	 0 size of what follows int32 (part of the produce request, not of the batch)
//	 4 base offset          int64 = 0
//	12 batch length         int32 = size-12
//	16 leader epoch         int32 = -1
//	20 magic                int8  = 2
//	21 crc                  uint32, Castagnoli, from attributes to the end
//	25 attributes           int16, codec in the low three bits
//	27 last offset delta    int32 = count-1
//	31 base timestamp       int64, milliseconds
//	39 max timestamp        int64, milliseconds
//	47 producer id          int64
//	55 producer epoch       int16
//	57 base sequence        int32
//	61 record count         int32
//	65 records, compressed together
//
// A record is: length, attributes (one byte, 0), timestamp delta, offset delta, key length (-1: null),
// key, value length, value, header count, and per header key length, key, value length, value. Its
// numbers are zigzag varints.
package recordbatch
