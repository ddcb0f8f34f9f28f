// Package wire is one connection to a Kafka broker, and it takes nothing on trust that comes over it: before
// kafka-go decodes an answer, its length, its correlation id and its shape have been checked.
//
// Why: kafka-go's decoder allocates what an answer announces. An array of 2^31 elements fits into 48 bytes, and
// "HTTP" read as a length is 1.2 GB; both ended the process when --brokers named the wrong port. Its
// Transport reads on goroutines of its own, which its caller cannot guard, and gives the exchange of credentials no deadline.
// So this package uses kafka-go's messages and encodings (package protocol) and its SASL mechanisms, and keeps
// connections itself:
//
//   - Every step, from the dial to the last token of SASL, and every request has the deadline of its context and
//     ends when that is cancelled. No goroutine outlives a call.
//   - A frame has at most [MaxFrame] bytes, [maxFirstFrame] before the connection is ready. Memory is taken as
//     bytes arrive, not as they are announced. Only one connection of a [Dialer] at a time reads and decodes a
//     frame longer than [smallFrame], and it gives way to others when its broker hangs.
//   - An answer that cannot be one is refused by its first bytes, and the error says what they look like.
//   - The shape of an answer (see shape) is derived from the very struct tags by which kafka-go decodes it,
//     so both always mean the same fields. What kafka-go allocates for it is at most [maxDecoded].
//   - SASL: bounded rounds, and a bounded number of iterations for SCRAM.
//   - A broker that asks to wait (throttle_time_ms) is not sent anything on the connection until then.
package wire

import "time"

const (
	// MaxFrame is the longest answer that is read: metadata of 20,000 partitions takes 1 MB with three replicas,
	// 2 MB with ten.
	MaxFrame = 4 << 20
	// maxFirstFrame bounds the answers that come before a connection is ready: versions and SASL.
	maxFirstFrame = 64 << 10
	// smallFrame is the longest answer that connections read without regard to each other, and the memory that
	// one keeps between two answers.
	smallFrame = 16 << 10
	// largeSteps are the parts of a request's time in each of which a part of a longer answer must come while another
	// connection waits to read one.
	largeSteps = 8
	// maxAPIKey bounds the kinds of requests of which a connection keeps the versions. Kafka 4.1 has them up to 92.
	maxAPIKey = 127
	// maxDecoded bounds what kafka-go allocates for one answer: 20,000 partitions with ten replicas.
	maxDecoded = 8 << 20
	// maxRounds bounds the tokens of one SASL exchange. SCRAM takes two.
	maxRounds = 8
	// maxIterations bounds the work of a SCRAM exchange (RFC 5802, section 9, warns of servers that ask for too
	// much). Kafka itself allows up to 16,384.
	maxIterations = 1_000_000
	// maxThrottle bounds how long a broker may ask to wait. Kafka's own bound is its quota window: 11 s by default.
	maxThrottle = time.Minute
)
