package kafka

import (
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// class says what to do with a batch after an answer or an error. This file is the only place that
// decides it.
type class uint8

const (
	classOK         class = iota
	classRetry            // send the same bytes again after a pause
	classRefresh          // retry, and the cached leaders are suspect: ask again
	classSplit            // the batch is too large: halves, down to single records
	classDeadLetter       // the broker refuses the content: isolate the record, then the dead-letter topic
	classRenew            // the broker lost or fenced our producer state: a new id for this batch
	classConfig           // an operator must act: keep the batch, say so, retry
)

func (c class) String() string {
	return [...]string{"ok", "retry", "refresh", "split", "dead_letter", "renew", "config"}[c]
}

// maxCorrupt is how often the broker may call a batch corrupt (code 2) until its content is held to be the cause, if that has
// gone on for stuckAfter: bytes may be damaged on the way, and a broker may be ill for a while.
const maxCorrupt = 3

// errCorrupt is CORRUPT_MESSAGE.
const errCorrupt = 2

// errInvalidRecord is INVALID_RECORD.
const errInvalidRecord = 87

// errTimestamp is INVALID_TIMESTAMP: further from the broker's clock than the topic allows.
const errTimestamp = 32

// errEpoch is INVALID_PRODUCER_EPOCH: the broker knows a newer epoch of the producer id.
const errEpoch = 47

// errDenied is CLUSTER_AUTHORIZATION_FAILED: brokers before 2.8 answer so to a request in which a batch has a producer id, if
// they do not give ids to this user.
const errDenied = 31

// errTooLarge is MESSAGE_TOO_LARGE.
const errTooLarge = 10

// errCompression is UNSUPPORTED_COMPRESSION_TYPE.
const errCompression = 76

// errDuplicate is the broker's word for "I have this batch already" (DUPLICATE_SEQUENCE_NUMBER).
const errDuplicate = 46

// classOf sorts a broker's error code; corrupt: the content of a batch that the broker calls so is held to be the cause. Codes
// as in Kafka's protocol guide.
func classOf(code int16, corrupt bool) (c class, known bool) {
	switch code {
	case 0, errDuplicate:
		return classOK, true
	case errCorrupt:
		if corrupt {
			return classDeadLetter, true
		}
		return classRetry, true
	case 3, // UNKNOWN_TOPIC_OR_PARTITION: for some 100 ms after a creation, too
		5, 6, // LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER
		72, 74, // LISTENER_NOT_FOUND, FENCED_LEADER_EPOCH
		75, 9: // UNKNOWN_LEADER_EPOCH, REPLICA_NOT_AVAILABLE
		return classRefresh, true
	case -1, // UNKNOWN_SERVER_ERROR
		7, 13, 14, 15, // REQUEST_TIMED_OUT, NETWORK_EXCEPTION, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE
		19, 20, // NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND
		56, 89: // KAFKA_STORAGE_ERROR, THROTTLING_QUOTA_EXCEEDED
		return classRetry, true
	case 10, 18: // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
		return classSplit, true
	case errInvalidRecord, errTimestamp: // INVALID_RECORD, INVALID_TIMESTAMP
		return classDeadLetter, true
	case 45, 47, 59: // OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID
		return classRenew, true
	case 17, 29, errDenied, 35, // INVALID_TOPIC, TOPIC_/CLUSTER_AUTHORIZATION_FAILED, UNSUPPORTED_VERSION
		33, 34, 43, 58, // UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE, UNSUPPORTED_FOR_MESSAGE_FORMAT, SASL_AUTHENTICATION_FAILED
		44, 65, 76: // POLICY_VIOLATION, DELEGATION_TOKEN…, UNSUPPORTED_COMPRESSION_TYPE
		return classConfig, true
	}
	return classRetry, false
}

// beforeAppend reports whether Kafka raises a code only before it appends: nothing of this copy of the batch
// is in the log. Other codes can follow an append, for example NOT_LEADER_OR_FOLLOWER (6) after a
// leader that resigned, and NOT_ENOUGH_REPLICAS_AFTER_APPEND (20). From Kafka's ReplicaManager.appendRecords
// and UnifiedLog.append, versions 1.1 to 4.1.
func beforeAppend(code int16) bool {
	switch code {
	case errCorrupt, 10, 17, 18, 19, 29, errDenied, errTimestamp, 45, errEpoch, 59, 76, 87:
		return true
	}
	return false
}

// classOfError sorts an error of a whole request: kafka-go's own, the network's, the deadline's.
func classOfError(err error) class {
	var code kafkago.Error
	switch {
	case errors.As(err, &code):
		if c, _ := classOf(int16(code), false); c == classConfig {
			return c // SASL, for example
		}
	case errors.Is(err, protocol.ErrNoTopic), errors.Is(err, protocol.ErrNoPartition), errors.Is(err, protocol.ErrNoLeader):
		return classRefresh
	}
	// Network errors, EOF, timeouts, "mismatching leaders": the broker may be gone and its partitions
	// led elsewhere by now, so the leaders are suspect as well.
	return classRefresh
}

// codeName is the error's name and number for log lines.
func codeName(code int16) string {
	return fmt.Sprintf("%s [%d]", kafkago.Error(code).Title(), code)
}
