package kafka

import (
	"errors"
	"time"

	kafkago "github.com/segmentio/kafka-go"
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

// learnTimestamps asks whether the topic keeps the records' own timestamps. Where it may not be asked, the first
// answer to an append tells.
func (s *kafkaCluster) learnTimestamps(t *topic) {
	s.mu.Lock()
	cluster := s.clusterID
	s.mu.Unlock()
	kind, err := s.client.topicConfig(s.ctx, cluster, t.name, "message.timestamp.type")
	s.mu.Lock()
	defer s.mu.Unlock()
	if cluster != s.clusterID {
		return // the other cluster is asked too
	}
	t.createTime = t.createTime || kind == "CreateTime"
	if kind == "" { // the next look at the cluster asks again
		t.described = false
	}
	if t.knowable {
		return
	}
	if err != nil {
		if t.unanswered++; t.unanswered < unansweredQuestions {
			s.want.refreshSoon()
			return
		}
	}
	t.knowable = true
	for _, b := range s.brokers {
		b.signal()
	}
}

var errNoSetAside = errors.New("no spool directory")
