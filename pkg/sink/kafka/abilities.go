package kafka

import (
	"context"
	"errors"
	"math"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// Versions of the protocol from which on brokers have an ability (Kafka's protocol guide; in brackets the release).
const (
	produceRecordBatch  = 3 // batches of format 2 (0.11)
	produceZstd         = 7 // (2.1)
	createTopicDefaults = 4 // -1 partitions or replicas: the broker's default (2.4)
)

// maxDefault is the most partitions and replicas of a topic that is created where brokers have no default to ask for.
const maxDefault = 3

// abilities are what not every broker can, of what the sink asks for.
type abilities struct {
	produce      int16 // the highest versions
	createTopics int16
	producerIDs  bool
}

// all is what is assumed of brokers that do not tell: the broker's refusal is a better message than a guess.
var all = abilities{produce: math.MaxInt16, createTopics: math.MaxInt16, producerIDs: true}

// abilities asks a broker. Brokers of a cluster that is being upgraded may answer differently: what the others
// cannot they refuse, until they are upgraded too.
func (c *client) abilities(ctx context.Context) (abilities, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	res, err := request[*apiversions.Response](ctx, c, Peer{Broker: AnyBroker}, &apiversions.Request{})
	if err != nil {
		return all, err
	}
	if res.ErrorCode != 0 || len(res.ApiKeys) == 0 {
		return all, errors.New("kafka: no use for the answer to ApiVersions")
	}
	var a abilities
	for _, k := range res.ApiKeys {
		switch protocol.ApiKey(k.ApiKey) {
		case protocol.Produce:
			a.produce = k.MaxVersion
		case protocol.CreateTopics:
			a.createTopics = k.MaxVersion
		case protocol.InitProducerId:
			a.producerIDs = true
		}
	}
	return a, nil
}

// createByAsking makes brokers with auto.create.topics.enable create a topic; from others it is a question like any
// other. Kafka's own producers ask so as well.
func (c *client) createByAsking(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, _ = c.RoundTrip(ctx, Peer{Broker: AnyBroker}, &metadata.Request{TopicNames: []string{name}, AllowAutoTopicCreation: true})
}

// learnAbilities asks once for each cluster what it can do, before anything is sent to it. One without producer ids is
// asked at each look: its brokers may be upgraded, or be behind a proxy that is. The codec stays that of the first answer:
// while a cluster is upgraded, brokers that are still old would refuse zstd.
func (s *kafkaCluster) learnAbilities() {
	s.mu.Lock()
	first, known := !s.asked, s.asked && s.able.producerIDs
	s.mu.Unlock()
	if known {
		return
	}
	a, err := s.client.abilities(s.ctx)
	if err != nil {
		return // asked again in the next round
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.able, s.asked = a, true; !first {
		return
	}
	codec := s.cfg.Codec
	if codec == recordbatch.Zstd && a.produce < produceZstd {
		codec = recordbatch.Snappy
		s.log.Warn("the brokers are older than Kafka 2.1 and do not take zstd; batches are compressed with snappy: set --codec=snappy")
	}
	s.codec.Store(uint32(codec))
}

// errNoProducerIDs is the refusal of brokers that have no such request: Kafka before 0.11, and services that speak a
// part of Kafka's protocol.
var errNoProducerIDs = errors.New("the brokers have no producer ids at all")

// askProducer gets a producer id, if the brokers have any.
func (s *kafkaCluster) askProducer() (id int64, epoch int16, err error) {
	s.mu.Lock()
	able, cluster := s.able, s.clusterID
	s.mu.Unlock()
	if !able.producerIDs {
		return 0, 0, errNoProducerIDs
	}
	return s.client.newProducer(s.ctx, cluster)
}

// refuse takes batches out of the request that the broker is known not to take: frames in zstd, written when the
// brokers were not known yet, are rebuilt, which compresses them anew; batches that are too large are taken apart.
// It has the lock that date needs.
func (w *worker) refuse() {
	s := w.s
	codec := recordbatch.Codec(s.codec.Load())
	var refused []entry
	s.mu.Lock()
	kept := w.entries[:0]
	for i := range w.entries {
		e := &w.entries[i]
		large := ""
		if e.failed == nil {
			e.date()
			large = w.b.bound.refusal(e.batch.rb.Size())
		}
		switch {
		case e.failed == nil && codec != s.cfg.Codec && e.batch.rb.Codec() == s.cfg.Codec:
			e.unsend()
			s.failedLocked(e, classDeadLetter, errCompression, "")
			refused = append(refused, *e)
		case large != "":
			e.unsend()
			s.failedLocked(e, classSplit, errTooLarge, large)
			refused = append(refused, *e)
		case len(kept) == i: // none was refused: it stays where it is
			kept = kept[:i+1]
		default:
			kept = append(kept, *e)
		}
	}
	clear(w.entries[len(kept):])
	if w.entries = kept; len(kept) == 0 {
		w.bytes, w.loads = 0, 0
	}
	s.mu.Unlock()
	for i := range refused {
		if e := &refused[i]; e.mustSplit() {
			w.split(e)
		}
	}
	tell(w.out) // no request may follow
	w.out = w.out[:0]
}
