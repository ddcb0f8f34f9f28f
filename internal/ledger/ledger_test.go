package ledger

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestJSONGolden(t *testing.T) {
	tests := []struct {
		name string
		in   Ledger
		want string
	}{
		{"empty", Ledger{},
			`{"admitted":0,"recovered":0,"delivered":0,"deadLettered":0,"setAside":0,"spooled":0,"inFlight":0,"dropped":{},` +
				`"possibleDuplicates":0,"duplicatesSuppressed":0,"idempotent":false,"ownLines":0,"waiting":{"bodies":0,"bytes":0},"bodies":{"admitted":0,"refused":{}}}`},
		{"full", Ledger{
			Admitted: 100, Recovered: 11, Delivered: 70, DeadLettered: 6, SetAside: 5, Spooled: 4, InFlight: 3,
			Dropped:            Reasons{"too_large": 2, "shutdown": 21},
			PossibleDuplicates: 8, DuplicatesSuppressed: 9, Idempotent: true, OwnLines: 4,
			Bodies: Bodies{Admitted: 12, Refused: Reasons{"no_room": 2, "body_too_large": 1}},
		},
			`{"admitted":100,"recovered":11,"delivered":70,"deadLettered":6,"setAside":5,"spooled":4,"inFlight":3,"dropped":{"shutdown":21,"too_large":2},` +
				`"possibleDuplicates":8,"duplicatesSuppressed":9,"idempotent":true,"ownLines":4,"waiting":{"bodies":0,"bytes":0},"bodies":{"admitted":12,"refused":{"body_too_large":1,"no_room":2}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var back Ledger
			if err := json.Unmarshal([]byte(tt.want), &back); err != nil {
				t.Fatal(err)
			}
			if again := back.String(); again != tt.want {
				t.Errorf("read and written again: %s", again)
			}
		})
	}
}

// Every term must take part in the equation with the right sign.
func TestMissing(t *testing.T) {
	tests := []struct {
		name string
		in   Ledger
		want int64
	}{
		{"empty", Ledger{}, 0},
		{"admitted", Ledger{Admitted: 3}, 3},
		{"recovered", Ledger{Recovered: 3}, 3},
		{"delivered", Ledger{Delivered: 3}, -3},
		{"dead-lettered", Ledger{DeadLettered: 3}, -3},
		{"set aside", Ledger{SetAside: 3}, -3},
		{"spooled", Ledger{Spooled: 3}, -3},
		{"in flight", Ledger{InFlight: 3}, -3},
		{"dropped", Ledger{Dropped: Reasons{"a": 1, "b": 2}}, -3},
		{"duplicates are no term", Ledger{PossibleDuplicates: 3, DuplicatesSuppressed: 3}, 0},
		{"bodies are no term", Ledger{Bodies: Bodies{Admitted: 3, Refused: Reasons{"a": 1}}}, 0},
		{"all", Ledger{Admitted: 10, Recovered: 11, Delivered: 1, DeadLettered: 2, SetAside: 3, Spooled: 4, InFlight: 5,
			Dropped: Reasons{"x": 6}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.in.Missing(); got != tt.want {
				t.Errorf("Missing() = %d, want %d", got, tt.want)
			}
			if got := tt.in.Balanced(); got != (tt.want == 0) {
				t.Errorf("Balanced() = %v with %d missing", got, tt.want)
			}
		})
	}
}

func TestCloneSharesNothing(t *testing.T) {
	r := Reasons{"a": 1}
	c := r.Clone()
	r["a"], r["b"] = 2, 3
	if !reflect.DeepEqual(c, Reasons{"a": 1}) {
		t.Errorf("clone changed with its source: %v", c)
	}
	if got := Reasons(nil).Clone(); got != nil {
		t.Errorf("clone of nil = %v", got)
	}
}
