package spooltest

import "functiongraph-ingest/internal/spool"

// Queue returns a partition's queue with all its methods; Spool.Queue has those that the sink uses.
func Queue(s *spool.Spool, topic string, id int32) *spool.Queue {
	return s.Queue(topic, id).(*spool.Queue)
}
