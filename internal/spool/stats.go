package spool

import "functiongraph-ingest/pkg/sink/kafka/diskqueue"

// counts is guarded by Spool.mu.
type counts struct {
	frames   int
	events   int64
	appended int64
	syncs    int64

	recoveredFrames int64
	recoveredEvents int64
	unclean         bool

	quarantined       int64
	quarantineBytes   int64 // what is in the directory
	quarantinedEvents int64 // found by Open
	lostFrames        int64
	lostEvents        int64
	toldEvents        int64 // of them, those that Read and Discard have told of
	torn              int64
	tornBytes         int64
	reclaimed         int64
	writeErrors       int64
}

// Stats is the state of the spool. Counts are since Open unless they say otherwise.
type Stats struct {
	Frames   int   // not done, now
	Events   int64 // of them: the ledger's "spooled", for frames that are not in memory as well
	Bytes    int64 // of all segments, now
	MaxBytes int64
	Segments int
	// OldestCreated is when the oldest segment with frames that are not done was made, ms since the Unix epoch; 0: there
	// is none, or it is not known.
	OldestCreated int64
	Appended      int64 // frames
	Syncs         int64 // rounds of fdatasync
	Latched       error // why the disk is not written to; nil: it works
	Memory        bool  // there is no disk: what is written is as durable as it gets

	RecoveredFrames int64 // found by Open and not done
	RecoveredEvents int64
	UncleanStart    bool // the last process left no closing mark

	Quarantined       int64 // damaged regions that were copied to quarantine/ for the first time
	QuarantineBytes   int64 // size of quarantine/, now
	QuarantinedEvents int64 // found by Open in damaged frames and never recovered; a frame whose header is damaged counts as one
	LostFrames        int64 // damaged after Open or Append had counted them
	LostEvents        int64 // of them
	Torn              int64 // tails that were cut
	TornBytes         int64
	Reclaimed         int64 // bytes of frames that are done, given back from segments that are not
	LostCursors       int64 // of partitions with frames: some that are done may be in their queue again
	CursorErrors      int64 // writes of the cursor that failed
	WriteErrors       int64 // writes and syncs of segments that failed

	SetAside      int64 // files, now
	SetAsideBytes int64
}

// Counts returns the part of Stats that the sink uses.
func (s *Spool) Counts() diskqueue.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.stats
	return diskqueue.Counts{
		Recovered: c.recoveredEvents + c.quarantinedEvents, Quarantined: c.quarantinedEvents, Lost: c.lostEvents - c.toldEvents,
		FramesLeft: max(0, s.cfg.mostFrames()-c.frames), NoSync: s.memory,
	}
}

// Stats returns the state now.
func (s *Spool) Stats() Stats {
	lost, failed := s.cursors.stats()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.stats
	var oldest int64
	for _, g := range s.segments {
		if g.live > 0 && g.created > 0 && (oldest == 0 || g.created < oldest) {
			oldest = g.created
		}
	}
	return Stats{
		OldestCreated: oldest,
		Frames:        c.frames, Events: c.events, Bytes: s.used, MaxBytes: s.cfg.MaxBytes, Segments: len(s.segments),
		Appended: c.appended, Syncs: c.syncs, Latched: s.latched, Memory: s.memory,
		RecoveredFrames: c.recoveredFrames, RecoveredEvents: c.recoveredEvents, UncleanStart: c.unclean,
		Quarantined: c.quarantined, QuarantineBytes: c.quarantineBytes, QuarantinedEvents: c.quarantinedEvents,
		LostFrames: c.lostFrames, LostEvents: c.lostEvents, Torn: c.torn, TornBytes: c.tornBytes,
		Reclaimed: c.reclaimed, LostCursors: lost, CursorErrors: failed, WriteErrors: c.writeErrors,
		SetAside: s.aside.files.Load(), SetAsideBytes: s.aside.bytes.Load(),
	}
}
