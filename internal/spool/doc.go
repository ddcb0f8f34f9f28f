// Package spool keeps record batches on disk: what outlives an outage and the process.
//
// A spool is one directory. Each (topic, partition) is a [Queue], first in first out; a frame is one
// sealed batch, unstamped, whose bytes the spool does not look into. Frames of all queues follow each
// other in shared segment files, so that many partitions cost one stream of writes and one fdatasync.
//
//	spool-dir/
//	  lock                            flock, as the directory itself; the process id, for a message
//	  cursors                         one slot per partition: what is done, what is in doubt
//	  0000002a-9c41f0e2d7b35a68.seg   segments: number and salt, in hexadecimal
//	  0000002a-9c41f0e2d7b35a68.seg.free  at most one: the file of a segment that is done, for the next one
//	  quarantine/                     damaged bytes, kept for inspection
//	  setaside/                       whole events that no topic takes, by SHA-256
//
// # What it promises
//
//   - A frame whose Append returned outlives the process, one whose Sync returned nil the machine.
//   - Peek never returns wrong bytes: all of a frame is under checksums, which are checked each time.
//   - A queue's frames come back in the order of their Appends. Frames that are done come back only if
//     the cursor was lost, and then the newest ones, in order, from one point on; such a queue is Suspect.
//   - Damage does not keep Open from succeeding, and nothing is deleted before it was read: what does not pass goes
//     to quarantine, except the end of a file that was never written whole. A read error is not damage, and
//     neither is another format version: Open fails with them, and changes nothing.
//   - After a failed write or sync a segment gets no more frames. Success of a later sync means nothing
//     for frames whose sync failed: ErrNotDurable stays.
//   - What others remove or replace while it is open is not durable, and after Close not counted as kept (Linux).
//   - Everything is bounded: bytes on disk, bytes left to others, frames (16 bytes of memory each).
//
// # Why not a library
//
// Those that are small have no checksums, or refuse to start with a torn tail; those that are sound are
// logs or trees of some megabytes of code. None knows a batch in doubt.
//
// # Life of a frame
//
//	Append ─▶ page cache ─Sync─▶ disk
//	   Peek ─▶ Sending(pos, stamp) ─▶ first send … ack ─▶ Done(pos) ─▶ all of the segment done: removed
//
// Sending and Done are one write of one sector into the page cache each, which outlives the process;
// DoneSoon leaves its write to the next Sending. So after a kill at most one frame of each queue is in doubt; [Queue.Doubt] has its stamp.
//
// # Segment, version 1
//
// Numbers are little endian; checksums are CRC-32C.
//
//	 0  8 "ingspool"
//	 8  4 checksum of bytes 12 to 63
//	12  4 version = 1
//	16  8 number, from 1 (the name has it as well)
//	24  8 salt, random (as well)
//	32  8 created, ms since the Unix epoch
//	40 24 zero
//
// Frames follow without padding, then an end mark:
//
//	 0  4 f5 "igf"
//	 4  8 the segment's salt
//	12  4 checksum of bytes 16 to 63
//	16  4 offset of this frame in the segment
//	20  4 length of the batch
//	24  4 checksum of the batch
//	28  1 kind: 1 frame, 2 gap, 3 end mark, 4 frame that replaces another
//	29  1 length of the topic
//	30  2 partitions of the topic when the records were placed; 0: not known
//	32  4 partition
//	36  4 events
//	40  4 records
//	44  4 checksum of the topic; kind 4: of what is between header and batch
//	48  8 timestamp of the first record, ms since the Unix epoch
//	56  8 written at, ms since the Unix epoch
//	64    topic; kind 4: the position of the frame that it replaces (8 bytes); then batch
//
// A gap stands where frames were that are done and whose blocks were given back to the file system; its
// topic is empty and its batch means nothing and has no checksum.
//
// A frame that replaces another one is void while that one is there and not done.
//
// An end mark is 64 bytes without topic and batch. Each write is frames and the mark behind them; the next
// one begins over the mark. What is behind the mark was in the file before: a segment that is done leaves
// its file to the next one, since to overwrite pages that are in the page cache costs a fifth of new ones.
//
// # Cursor file, version 1
//
//	 0  8 "ingcursr"
//	 8  4 checksum of bytes 12 to 511
//	12  4 version = 1
//	16  4 state: 1 open, 2 closed (the closing mark)
//	20  1 length of the boot id
//	21  3 zero
//	24 40 boot id: the run of the machine, as text
//	64    zero up to 512
//
// Slots of 1024 bytes follow. A slot is two copies of 512 bytes; the one with the greater sequence
// counts, and the next write goes to the other one:
//
//	 0  4 f5 "igc"
//	 4  4 checksum of bytes 8 to 511
//	 8  8 sequence, from 1; the copy's place is its lowest bit
//	16  8 position of the last frame that is done: segment number << 32 | offset
//	24  8 position of the frame in doubt; 0: none
//	32  8 its producer id
//	40  8 its first send, ms since the Unix epoch
//	48  4 its base sequence
//	52  2 its producer epoch
//	54  2 length of the topic
//	56  4 partition
//	60  4 zero
//	64  8 suspect: frames up to this position may be done; 0: none
//	72    topic, zero up to 512
//
// docs/format/spool.md has the same for operators, with the rules of a reader.
package spool
