package proc

import (
	"encoding/json"
	"fmt"
)

// Ledger is what /ledger serves and what the last line at exit holds. The names are the product's
// contract with its users, so they are written down here a second time, on purpose.
type Ledger struct {
	Admitted             int64            `json:"admitted"`
	Recovered            int64            `json:"recovered"`
	Delivered            int64            `json:"delivered"`
	DeadLettered         int64            `json:"deadLettered"`
	SetAside             int64            `json:"setAside"`
	Spooled              int64            `json:"spooled"`
	InFlight             int64            `json:"inFlight"`
	Dropped              map[string]int64 `json:"dropped"`
	PossibleDuplicates   int64            `json:"possibleDuplicates"`
	DuplicatesSuppressed int64            `json:"duplicatesSuppressed"`
	Idempotent           bool             `json:"idempotent"`
	OwnLines             int64            `json:"ownLines"`
	Waiting              struct {
		Bodies int64 `json:"bodies"`
		Bytes  int64 `json:"bytes"`
	} `json:"waiting"`
	Bodies struct {
		Admitted     int64            `json:"admitted"`
		Refused      map[string]int64 `json:"refused"`
		RefusedBytes int64            `json:"refusedBytes"` // absent when no body got 503
	} `json:"bodies"`
}

// DroppedTotal is the sum over all reasons.
func (l *Ledger) DroppedTotal() int64 { return sum(l.Dropped) }

// RefusedTotal is the number of bodies refused, over all reasons.
func (l *Ledger) RefusedTotal() int64 { return sum(l.Bodies.Refused) }

func sum(m map[string]int64) (n int64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Balance is nil when every event is accounted for:
// admitted + recovered = delivered + deadLettered + setAside + spooled + inFlight + dropped.
func (l *Ledger) Balance() error {
	in := l.Admitted + l.Recovered
	out := l.Delivered + l.DeadLettered + l.SetAside + l.Spooled + l.InFlight + l.DroppedTotal()
	if in != out {
		return fmt.Errorf("ledger out of balance by %d: %d in, %d out: %+v", in-out, in, out, *l)
	}
	return nil
}

// parseLedger reads one line of JSON with every field of a ledger.
func parseLedger(line []byte) (*Ledger, error) {
	var names map[string]json.RawMessage
	if err := json.Unmarshal(line, &names); err != nil {
		return nil, fmt.Errorf("ledger %.200q: %w", line, err)
	}
	for _, name := range []string{"admitted", "recovered", "delivered", "deadLettered", "setAside", "spooled",
		"inFlight", "dropped", "possibleDuplicates", "duplicatesSuppressed", "idempotent", "ownLines", "waiting", "bodies"} {
		if _, ok := names[name]; !ok {
			return nil, fmt.Errorf("ledger %.200q has no %q", line, name)
		}
	}
	l := new(Ledger)
	if err := json.Unmarshal(line, l); err != nil {
		return nil, fmt.Errorf("ledger %.200q: %w", line, err)
	}
	return l, nil
}
