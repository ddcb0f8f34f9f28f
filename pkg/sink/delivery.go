package sink

import (
	"fmt"
	"time"
)

// State answers one question: do events reach the destination?
type State uint8

const (
	Starting   State = iota // the destination was not reached yet, and nothing says that it cannot be
	Idle                    // it was reached, and nothing waits
	Delivering              // events are on their way, and none of them is stuck
	Retrying                // something is in the way that may pass by itself
	Spooling                // events wait on disk because the destination is behind
	Blocked                 // there is no room in memory or on disk: appends wait
	Failed                  // something is in the way until an operator acts; it is tried again all the same
	states
)

var stateNames = [states]string{"starting", "idle", "delivering", "retrying", "spooling", "blocked", "failed"}

// String is the state's word in logs, metrics and /status.
func (s State) String() string { return stateNames[s] }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("%.20q is no state of a delivery", text)
}

// States are all states, in order.
func States() []State {
	all := make([]State, states)
	for i := range all {
		all[i] = State(i)
	}
	return all
}

// Trouble is one thing that is in the way, in words for an operator. The zero value is none.
type Trouble struct {
	Kind   string    `json:"kind"`            // one word, for alarms
	Reason string    `json:"reason"`          // what is wrong
	Remedy string    `json:"remedy"`          // what to do, with the setting
	Error  string    `json:"error,omitempty"` // what was answered, printable
	Since  time.Time `json:"since,omitzero"`
	Next   time.Time `json:"next,omitzero"` // the next attempt; zero: one is under way, or not known
}

// Delivery is the state of a sink at one instant.
type Delivery struct {
	State   State     `json:"state"`
	Since   time.Time `json:"since,omitzero"` // of State
	Waiting int64     `json:"waiting"`        // events in memory and on disk that are not delivered yet, and those of appends that wait
	// What waits on disk only.
	SpooledEvents int64 `json:"spooledEvents"`
	SpooledBytes  int64 `json:"spooledBytes"`

	Trouble     Trouble `json:"trouble,omitzero"`     // what keeps events from the destination
	DeadLetters Trouble `json:"deadLetters,omitzero"` // what keeps dead letters from theirs; good events go on
	Spool       Trouble `json:"spool,omitzero"`       // what keeps events from the disk
}
