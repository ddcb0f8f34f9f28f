package config

import (
	"fmt"
	"math/bits"
	"sort"

	"functiongraph-ingest/internal/body"
)

// The arithmetic of --memory-limit. The sum is the promise for the whole process: a change of one of
// these measures the peak RSS again.
const (
	// outsideHeap is what the Go runtime does not count against GOMEMLIMIT: pages of the executable. An
	// idle process has 15 to 16 MiB of them resident (stripped, native decoder), which the kernel can take
	// back at any time. Half of it is counted here, half is the 8 MiB within which the promise is kept.
	outsideHeap = 8 * MiB
	// insideHeap is the rest of the constant part: stacks, the runtime's own structures, metadata of
	// brokers and partitions. An idle process has 5.5 to 6.5 MiB of anonymous memory.
	insideHeap = 6 * MiB
	// connBytes is one open connection beside its read buffer, which holds --max-header-bytes: a goroutine's stack,
	// fasthttp's write buffer, its request and response. 7 to 8 KB were measured with 1,000 connections open. A
	// connection that is turned away has about 5 KiB, and there are at most TurnedAway(MaxConns) of them.
	connBytes = 8*KiB + 5*KiB/turnedAwayShare
	// tlsConnBytes is what TLS adds: its state, a record of 16 KiB that is read, the records that are written, and what
	// a handshake leaves behind. About 20 KiB of it stay with an idle connection: half of the
	// 40 KiB that were measured for both ends.
	tlsConnBytes = 32 * KiB
	// turnedAwayShare: beside those that are served, one part in turnedAwayShare is being turned away, with an answer.
	turnedAwayShare = 8
	// connShare: unless --max-conns says otherwise connections get one part in connShare of the limit.
	connShare = 8
	// crowd is how many connections everybody with roomForCrowd expects: an instance may serve 1,000
	// invocations at once. Below, bodies need the memory more.
	crowd        = 1024
	roomForCrowd = 64 * MiB
	// bufferShare: when memory is short, batch buffers give way to bodies down to one part in bufferShare.
	bufferShare = 4
	// tlsConnShare takes the place of connShare and crowd for a listener with TLS, from roomForCrowd up.
	tlsConnShare = 4
	// garbageShare: from roomForCrowd up, one part in garbageShare is left for garbage. Without it the heap is at
	// GOMEMLIMIT when everything that may be lent is lent, and the collector runs for every few requests: with
	// 1,000 connections and a tenth of a core it took more CPU than the events did. The runtime's own bound, half of
	// the CPU, is half of what GOMAXPROCS allows, not of the quota. Below roomForCrowd bodies need the memory more.
	garbageShare = 16
	// spoolShare: a spool gets one part in spoolShare. A frame on disk costs 16 bytes.
	spoolShare = 16
	// spoolDataShare: where the spool is in memory its frames get one part in spoolDataShare, unless --spool-max says otherwise.
	spoolDataShare = 4
	// ringSlot is a slot of the ring: a position and a pointer. What --ring-items takes beyond roomForRing is its own;
	// the ring has a power of two of slots.
	ringSlot    = 16
	roomForRing = 64 * KiB
	// bodiesInGate is how many of the largest bodies the gate should hold, so that one big delivery does
	// not keep all others waiting.
	bodiesInGate = 4
	// leastGate is the least the gate works with: 1,000 waiting one-event bodies of 2 KiB.
	leastGate = 2 * MiB
	// batchesInBuffers is the least number of batches the buffers hold: one open, one in flight, one for
	// a split, one for a dead letter.
	batchesInBuffers = 4
)

// Budget is --memory-limit, split. Gate + Buffers + Spool + SpoolData + Conns + Runtime = Limit.
type Budget struct {
	Limit   Bytes // --memory-limit
	Gate    Bytes // bodies between the start of their read and their last append
	Buffers Bytes // batches, open and in flight
	Spool   Bytes // the index of the frames on disk, and those that are being read back; half each
	Conns   Bytes // open connections
	Runtime Bytes // everything that does not grow with load
	// SpoolData is the size of a spool on a file system in memory; 0: there is none, or it is on a disk.
	SpoolData Bytes

	MaxBody    Bytes // --max-body, or less when three quarters of the gate cannot hold it
	MaxConns   int   // --max-conns, or as many as Conns holds, and no more than descriptors allow
	GoMemLimit Bytes // for runtime/debug.SetMemoryLimit
	Warnings   []string

	Descriptors Descriptors

	wantedConns int // connections without the bound of descriptors, if that is less; else 0
}

// Descriptors is how many files and sockets the process may have open, and for what.
type Descriptors struct {
	Limit    int // RLIMIT_NOFILE; 0: not known
	Reserved int // for all that is no connection of a client: brokers, spool, admin address
	Conns    int // for MaxConns, and those that are being turned away beside them
}

// Budget splits --memory-limit. The result is an error when there is no room for bodies at all.
//
//	limit        32MiB  48MiB  64MiB  96MiB  256MiB
//	runtime      14     14     18     20     30      14, from 64MiB up limit / 16 more for garbage
//	connections   4      6     16.6   16.6   32      limit / 8, from 64MiB up at least 1,024 connections
//	buffers       8     12     16     16     16      --buffer-bytes, less while the gate is short
//	gate          6     16     13.4   43.4  178      the rest
//
// A spool takes a 16th of the limit, from the gate, or from the buffers where --max-body would not fit any more. With TLS a connection takes three times as much, and
// connections together a quarter from 64MiB up: 336 of them at 64MiB, 84 at 32MiB.
func (c *Config) Budget() (Budget, error) {
	b := c.split(c.MemoryLimit)
	if b.Gate < leastGate {
		least := sort.Search(1<<24, func(mib int) bool { return c.split(Bytes(mib)*MiB).Gate >= leastGate })
		if b.SpoolData > 0 {
			return Budget{}, fmt.Errorf("its %s (--spool-max) count against --memory-limit=%s and leave less than %s for bodies: raise that to %s, lower --spool-max or --max-body, or choose a directory on a disk",
				b.SpoolData, b.Limit, leastGate, Bytes(least)*MiB)
		}
		return Budget{}, fmt.Errorf("connections %s + runtime %s + buffers %s leave less than %s for bodies; at least %s is needed with these --max-conns, --buffer-bytes and --batch-bytes",
			b.Conns, b.Runtime, b.Buffers, leastGate, Bytes(least)*MiB)
	}
	if b.wantedConns != 0 {
		b.Warnings = append(b.Warnings, fmt.Sprintf("--max-conns=%d is lowered to %d: the process may have %d files and sockets open (ulimit -n), and %d are kept for brokers, spool and admin address: raise that limit (LimitNOFILE=), or lower --max-conns",
			b.wantedConns, b.MaxConns, b.Descriptors.Limit, b.Descriptors.Reserved))
	}
	if b.SpoolData > 0 {
		b.Warnings = append(b.Warnings, fmt.Sprintf("--spool-dir=%s is in memory (%s): what is in it is lost with the machine, and its %s (--spool-max) count against --memory-limit=%s. Choose a directory on a disk to keep events through a restart of the machine",
			c.SpoolDir, c.inMemory, b.SpoolData, b.Limit))
	}
	b.GoMemLimit = b.Limit - b.SpoolData - outsideHeap
	b.MaxBody = c.MaxBody
	if largest := Bytes(body.LongestBody(int64(b.Gate))); c.MaxBody > largest {
		b.MaxBody = largest
		b.Warnings = append(b.Warnings, fmt.Sprintf("--max-body=%s is lowered to %s, larger bodies get 413: --memory-limit=%s leaves %s for bodies, "+
			"of which long ones share three quarters. Raise --memory-limit or lower --buffer-bytes to take larger ones", c.MaxBody, largest, b.Limit, b.Gate))
	}
	return b, nil
}

// split does the arithmetic; Gate may come out negative.
func (c *Config) split(limit Bytes) Budget {
	b := Budget{Limit: limit, SpoolData: c.spoolData(limit)}
	limit -= b.SpoolData
	b.Runtime, b.Conns = outsideHeap+insideHeap, limit/connShare
	if limit >= roomForCrowd {
		if b.Conns = max(b.Conns, crowd*c.connBytes()); len(c.ListenTLSCert) > 0 {
			b.Conns = limit / tlsConnShare
		}
		b.Runtime += limit / garbageShare
	}
	b.Runtime += max(0, powerOfTwoAround(Bytes(c.RingItems))*ringSlot-roomForRing)
	b.MaxConns = max(1, int(b.Conns/c.connBytes()))
	if c.MaxConns > 0 {
		b.MaxConns = c.MaxConns
		b.Conns = Bytes(c.MaxConns) * c.connBytes()
	}
	// As many as are served, and those that are being turned away, have to fit beside the others.
	b.Descriptors = Descriptors{Limit: c.descriptors, Reserved: c.reservedDescriptors()}
	if c.descriptors > 0 {
		if most := max(1, (c.descriptors-b.Descriptors.Reserved)*turnedAwayShare/(turnedAwayShare+1)); b.MaxConns > most {
			b.wantedConns, b.MaxConns = b.MaxConns, most
			b.Conns = Bytes(most) * c.connBytes()
		}
	}
	b.Descriptors.Conns = b.MaxConns + (b.MaxConns+turnedAwayShare-1)/turnedAwayShare
	if c.Spools() {
		b.Spool = limit / spoolShare
	}
	rest := limit - b.Runtime - b.Conns - b.Spool
	least := min(c.BufferBytes, max(limit/bufferShare, batchesInBuffers*c.BatchBytes))
	b.Buffers = min(c.BufferBytes, max(least, rest-max(leastGate, bodiesInGate*powerOfTwoAround(c.MaxBody))))
	b.Gate = rest - b.Buffers
	// The platform documents no size of a delivery, so that the spool of a small extension must not make bodies smaller
	// than --max-body: then all of its share is the buffers'.
	if lack := Bytes(body.RoomFor(int64(c.MaxBody))) - b.Gate; lack > 0 && lack <= b.Spool && b.Buffers-lack >= batchesInBuffers*c.BatchBytes {
		b.Buffers -= lack
		b.Gate += lack
	}
	return b
}

// spoolData is what a spool in memory takes of the limit.
func (c *Config) spoolData(limit Bytes) Bytes {
	if c.inMemory == "" || !c.Spools() || c.replays {
		return 0
	}
	if c.SpoolMax > 0 && c.command != Extension { // an extension raises it
		return c.SpoolMax
	}
	if c.SpoolMax > 0 {
		return max(c.SpoolMax, LeastSpool(c.MaxBody))
	}
	return max(limit/spoolDataShare, LeastSpool(c.MaxBody))
}

// reservedDescriptors are kept for all that is no connection of a client: a few connections to each broker, of
// which there may be more than are named, the admin address, the spool's files, the runtime's own.
func (c *Config) reservedDescriptors() int { return 64 + 4*len(c.Brokers) }

// connBytes is what one open connection is charged.
func (c *Config) connBytes() Bytes {
	n := connBytes + c.MaxHeaderBytes
	if len(c.ListenTLSCert) > 0 {
		n += tlsConnBytes
	}
	return n
}

// powerOfTwoAround is the smallest power of two that is at least n, up to 2^40.
func powerOfTwoAround(n Bytes) Bytes {
	return 1 << min(40, bits.Len64(uint64(max(n, 1)-1)))
}
