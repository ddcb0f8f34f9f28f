package kafka

// The states of a batch. Two facts make one: how far its delivery is (phase), and what holds its bytes (home).
//
//	          sealed         taken into a request         an answer: it is in the log
//	 open ────────▶ queued ────────────────────▶ sending ────────────────────────────▶ done
//	                  │ ▲                          │ ▲ │
//	                  │ │ its partition is gone    │ │ │ refused whole: its children take its place
//	       dropped    ▼ │               no answer, ▼ │ └──▶ split ──▶ done, when all of them are
//	        done ◀─────────────────── or not now: in doubt
//
//	 memory ──▶ writing ──▶ both ──▶ disk          covered: the frame of the batch that it came out of stands for it
//	    ▲          │          ▲        │
//	    └──────────┘          └────────┘
//	     the disk refuses      read back
//
// Nothing keeps the state beside the facts: phase and home are read off the lane and the batch, so they cannot differ. The
// build tag invariants checks each time core.mu is let go that every batch is in a legal state and came there by a legal
// step (invariants_on.go). This file has no lock, no clock and no I/O.

// phase is how far a batch's delivery is.
type phase uint8

const (
	phaseOpen    phase = 1 << iota // takes records
	phaseQueued                    // waits for those before it
	phaseSending                   // a request carries it
	phaseInDoubt                   // a request has carried it; no answer says what became of it, or it cannot be taken now
)

// home is what holds a batch's bytes.
type home uint8

const (
	homeMemory  home = 1 << iota // memory only
	homeWriting                  // memory, and its frame is being written
	homeBoth                     // memory, and a frame
	homeDisk                     // a frame only
	homeCovered                  // memory, and the frame of the batch that it came out of
)

// home is read off the batch. One that was split has none: its children do.
func (b *batch) home() home {
	switch {
	case !b.inMemory():
		return homeDisk
	case b.pos != 0:
		return homeBoth
	case b.coveredBy != nil:
		return homeCovered
	case b.writing:
		return homeWriting
	}
	return homeMemory
}

// inMemory reports whether the batch has its bytes, or they are being read back. That is done without the lock, so rb is
// not to be asked then.
func (b *batch) inMemory() bool { return b.loaded || b.rb != nil }

// unframed reports whether no frame stands for the batch, neither its own nor that of the batch that it came out of.
func (b *batch) unframed() bool { return b.pos == 0 && b.coveredBy == nil }

// homes are those that a batch may have in each phase.
func (p phase) homes() home {
	switch p {
	case phaseOpen:
		return homeMemory
	case phaseQueued, phaseSending, phaseInDoubt:
		return homeMemory | homeWriting | homeBoth | homeDisk | homeCovered
	}
	return 0
}

// next are the phases that may follow while the batch lives. Within one hold of the lock it may go through several.
func (p phase) next() phase {
	switch p {
	case phaseOpen:
		return phaseOpen | phaseQueued | phaseSending
	case phaseQueued:
		return phaseQueued | phaseSending | phaseInDoubt
	case phaseSending:
		return phaseSending | phaseInDoubt
	case phaseInDoubt:
		return phaseInDoubt | phaseSending | phaseQueued
	}
	return 0
}

// next are the homes that may follow. The disk is written and read without the lock, so none of these steps is passed over:
// what has a frame was seen being written, and what is on disk only was seen with both.
func (h home) next() home {
	switch h {
	case homeMemory:
		return homeMemory | homeWriting
	case homeWriting:
		return homeWriting | homeMemory | homeBoth
	case homeBoth:
		return homeBoth | homeDisk
	case homeDisk:
		return homeDisk | homeBoth
	case homeCovered:
		return homeCovered
	}
	return 0
}
