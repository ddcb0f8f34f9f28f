package kafka

import (
	"context"
	"errors"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// makeTopic creates a main topic, where that is wanted or the brokers do it by themselves.
func (s *kafkaCluster) makeTopic(name string) error {
	if !s.cfg.CreateTopic {
		s.client.createByAsking(s.ctx, name)
		return nil
	}
	partitions, replicas := s.topicNumbers()
	return s.client.createTopic(s.ctx, name, partitions, replicas)
}

// makeDeadTopic creates the dead-letter topic. A refusal is a warning, never a reason not to be ready.
func (s *kafkaCluster) makeDeadTopic() {
	partitions, replicas := s.topicNumbers()
	err := s.client.createTopic(s.ctx, s.dead.name, partitions, replicas)
	if err != nil {
		s.client.createByAsking(s.ctx, s.dead.name) // seen in the next round, if it helps
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead.createErr = err
	s.changes.ring()
	var code kafkago.Error
	switch {
	case err == nil:
		s.dead.unusable = false
		s.sight.soon, s.want.refresh = true, true
	case errors.As(err, &code) && !code.Temporary():
		s.dead.unusable = true
		s.want.deadAgain = time.Now().Add(deadTopicEvery)
		s.madeRoom()
	default: // the cluster is in trouble: that passes
		s.want.deadAgain = time.Now().Add(refreshEvery)
	}
}

// topicNumbers are the partitions and replicas of a topic that is created; -1 is the brokers' default.
func (s *kafkaCluster) topicNumbers() (partitions, replicas int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	partitions, replicas = s.cfg.TopicPartitions, s.cfg.TopicReplication
	if s.able.createTopics < createTopicDefaults {
		most := max(1, min(s.size, maxDefault))
		if partitions < 0 {
			partitions = most
		}
		if replicas < 0 {
			replicas = most
		}
	}
	return partitions, replicas
}

// times is which timestamps a topic keeps (message.timestamp.type), and with that what an append time in an answer means.
type times uint8

const (
	timesUnknown times = iota // no question was answered yet
	timesUntold               // the brokers do not tell this client: an append time means nothing until an answer has none
	timesCreate               // the records' own: an answer with an append time tells that the broker had the batch already
	timesAppend               // the broker's: each answer has one
)

// mayBeSent reports whether events may be sent to the topic: it is known what an append time in the first answer means,
// or unansweredQuestions have shown that waiting for it is in vain. At the end one of them is enough: a batch that may come
// twice is better than one that is not sent.
func (t *topic) mayBeSent() bool {
	return t.keeps != timesUnknown || t.unanswered >= unansweredQuestions || t.unanswered > 0 && t.core.closed
}

// had reports whether an answer may tell that the broker had the batch before this request, so that it must be compared
// with the batch. While the topic's timestamps are not known, an append time is taken for such a sign.
func (t *topic) had(b *batch, p *produce.ResponsePartition) bool {
	return p.ErrorCode == errDuplicate || p.LogAppendTime >= 0 && b.stamp.id >= 0 && (t.keeps == timesCreate || t.keeps == timesUnknown)
}

// learnTimestamps asks which timestamps the topic keeps. Where it may not be asked, the first answer without an append
// time tells.
func (s *kafkaCluster) learnTimestamps(t *topic) {
	s.mu.Lock()
	cluster, patience := s.clusterID, s.cfg.RequestTimeout
	if t.unanswered == 0 {
		patience /= questionPart // an end may wait for this one
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	kind, err := s.client.topicConfig(ctx, cluster, t.name, "message.timestamp.type")
	s.mu.Lock()
	defer s.mu.Unlock()
	if cluster != s.clusterID {
		return // the other cluster is asked too
	}
	waited := !t.mayBeSent()
	switch {
	case kind == "CreateTime":
		t.keeps = timesCreate
	case kind != "":
		t.keeps = timesAppend
	default:
		t.described = false // the next look at the cluster asks again
		if err != nil {
			t.unanswered++
		} else if t.keeps == timesUnknown {
			t.keeps = timesUntold
		}
	}
	switch {
	case !t.mayBeSent():
		s.want.refreshSoon()
	case waited:
		for _, b := range s.brokers {
			b.signal()
		}
	}
}

var errNoSetAside = errors.New("no spool directory")
