package sink

import "time"

// Inside is what an operator may look at beyond [Delivery]: what the status page shows of a sink.
type Inside struct {
	// Partitions are at most as many as were asked for: those in trouble first, then those with events that wait.
	Partitions []Partition `json:"partitions"`
	// AllPartitions is the number of partitions, dead-letter topic included.
	AllPartitions int `json:"allPartitions"`
	// DeadLetters are the last ones, the newest first.
	DeadLetters []DeadNote `json:"lastDeadLetters"`
}

// Partition is the queue of one partition at one instant.
type Partition struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`    // -1: events wait until the partitions of their topic are known
	Leader    int32   `json:"leader"`       // broker id; -1: none is known
	Waiting   int64   `json:"waiting"`      // events in memory
	Spooled   int64   `json:"spooledBytes"` // bytes on disk
	Trouble   Trouble `json:"trouble,omitzero"`
}

// DeadNote is what is remembered of a dead letter. Content is empty unless users asked for it.
type DeadNote struct {
	Time        time.Time `json:"time"`
	Reason      string    `json:"reason"`
	Body        uint64    `json:"body,string"`     // as in DeadLetter; a decimal string: JavaScript has no such numbers
	Offset      int64     `json:"offset"`          // in that body
	ErrorOffset int64     `json:"errorOffset"`     // -1: not known
	Topic       string    `json:"topic,omitempty"` // it came out of the queue of this topic's Partition; "": it is a region of Body
	Partition   int32     `json:"partition"`       // -1: none
	Bytes       int64     `json:"bytes"`
	Error       string    `json:"error,omitempty"`   // what the broker answered, printable
	Content     string    `json:"content,omitempty"` // its beginning, printable
}
