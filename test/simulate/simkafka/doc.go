// Package simkafka models an Apache Kafka cluster for simulations: without sockets, clock or threads of its own.
//
// What is modelled is what a producer can observe: metadata, producer ids, topics, and for each partition the
// idempotent protocol as Kafka 4.1 has it. Produce raises its error codes in Kafka's order: existence and leadership
// first, then the in-sync replicas, then size, CRC, timestamps and content, and only then duplicates, epochs and sequences.
// So a batch that is in the log can be refused when it is sent again. Sources: Kafka's UnifiedLog.append,
// LogValidator, ProducerAppendInfo and ProducerStateEntry.
//
// A [Transport] stands where the sink's connections do. It hands each request that would go to a broker to a [Gate], which
// decides when it arrives, what becomes of it and whether its answer comes back. compare_test.go asks the model and a real
// broker the same.
package simkafka

import "errors"

// Codes of Kafka's protocol guide that the model answers by itself.
const (
	CodeOK                  = int16(0)
	CodeCorruptMessage      = int16(2)
	CodeUnknownTopic        = int16(3)
	CodeNotLeader           = int16(6)
	CodeTimedOut            = int16(7)
	CodeMessageTooLarge     = int16(10)
	CodeNotEnoughReplicas   = int16(19)
	CodeNotEnoughAfter      = int16(20)
	CodeTopicAuthorization  = int16(29)
	CodeInvalidTimestamp    = int16(32)
	CodeTopicExists         = int16(36)
	CodeOutOfOrderSequence  = int16(45)
	CodeInvalidEpoch        = int16(47)
	CodeStorage             = int16(56)
	CodeInvalidRecord       = int16(87)
	CodeThrottlingExceeded  = int16(89)
	CodeLeaderNotAvailable  = int16(5)
	noProducer              = int64(-1)
	rememberedBatches       = 5
	defaultMaxMessageBytes  = 1_048_588
	defaultTimestampAfterMs = 3_600_000
)

// ErrDown is what a request gets whose broker cannot be reached, or whose connection broke.
var ErrDown = errors.New("simkafka: connection refused or reset")
