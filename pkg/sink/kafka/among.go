package kafka

import "functiongraph-ingest/pkg/sink/kafka/diskqueue"

// A frame says among how many partitions its records were placed. When the topic has got more since then, a new process
// goes on by that count until the frames are delivered, as one does that lives while the topic grows: else later events
// of a key would go to another partition and arrive first.

// among is how many partitions the records of the lane were placed among; 0: they are not placed yet.
func (l *lane) among() uint16 {
	if l.partition == unassignedPartition {
		return 0
	}
	return uint16(len(l.topic.lanes)) // see maxPartitions
}

// goOnAmong leaves the topic, whose partitions have just become known and of which nothing was sent, as many lanes as its
// frames in the spool were placed among. It grows to the others when those are delivered.
func (t *topic) goOnAmong(sp diskqueue.Spool) {
	n := len(t.lanes)
	if sp == nil || t.dead || n == 0 {
		return
	}
	var newest diskqueue.Pos
	among, used := 0, 0
	for _, q := range sp.Queues() {
		if q.Topic() != t.name || q.Partition() < 0 {
			continue
		}
		used = max(used, int(q.Partition())+1)
		if tail := q.Tail(); tail > newest {
			newest, among = tail, int(q.Partitions())
		}
	}
	if among == 0 { // no frames, or an earlier version's
		return
	}
	if among = max(among, used); among < n {
		t.core.removeLanes(t, among)
		t.grow = n
	}
}
