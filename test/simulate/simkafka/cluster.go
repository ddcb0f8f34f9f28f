package simkafka

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// Cluster is a modelled cluster. Its methods are safe for concurrent use and never block for long.
type Cluster struct {
	// ID is in every metadata answer.
	ID string
	// Expiry is producer.id.expiration.ms. 0: a day.
	Expiry time.Duration
	// OnAppend hears of every batch that is appended, with the offset of its first record. incarnation is how many
	// topics this cluster had before: a topic that was made anew has lost what was in it. It must not call back.
	OnAppend func(topic string, incarnation int, partition int32, offset int64, b *Batch)
	// ForbidTopics refuses to create topics.
	ForbidTopics bool

	mu         sync.Mutex
	up         []bool // brokers by id
	topics     map[string]*topic
	partitions int // of created topics that ask for the default
	producers  int64
	made       int // topics
}

type topic struct {
	incarnation int
	cfg         TopicConfig
	partitions  []*partition
}

// NewCluster returns a cluster of so many brokers, with ids from 0 on. Topics that are made without a number of
// partitions get the given one.
func NewCluster(id string, brokers, partitions int) *Cluster {
	return &Cluster{ID: id, up: slices.Repeat([]bool{true}, brokers), topics: map[string]*topic{}, partitions: partitions}
}

// CreateTopic makes a topic, or makes it anew and empty. Its partitions are led by the brokers in turn.
func (c *Cluster) CreateTopic(name string, partitions int, cfg TopicConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &topic{incarnation: c.made, cfg: cfg}
	c.made++
	c.topics[name] = t
	c.addPartitionsLocked(t, partitions)
}

func (c *Cluster) addPartitionsLocked(t *topic, total int) {
	for i := len(t.partitions); i < total; i++ {
		p := &partition{leader: -1, producers: map[int64]*producerState{}}
		for k := range c.up {
			if b := (i + k) % len(c.up); c.up[b] {
				p.leader = int32(b)
				break
			}
		}
		t.partitions = append(t.partitions, p)
	}
}

// AddPartitions lets a topic grow to total partitions.
func (c *Cluster) AddPartitions(name string, total int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		c.addPartitionsLocked(t, total)
	}
}

// DeleteTopic removes a topic.
func (c *Cluster) DeleteTopic(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.topics, name)
}

// Configure changes a topic's configuration.
func (c *Cluster) Configure(name string, edit func(*TopicConfig)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		edit(&t.cfg)
	}
}

// Partitions is a topic's number of partitions; 0: there is no such topic.
func (c *Cluster) Partitions(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		return len(t.partitions)
	}
	return 0
}

// Brokers is the number of brokers.
func (c *Cluster) Brokers() int { return len(c.up) }

// SetBroker starts or stops a broker. One that stops loses its partitions: to another broker, or with stay to none.
func (c *Cluster) SetBroker(id int, up, stay bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up[id] = up
	for _, t := range c.topics {
		for _, p := range t.partitions {
			switch {
			case up && p.leader < 0:
				p.leader = int32(id)
			case !up && p.leader == int32(id):
				p.leader = -1
				if to := slices.Index(c.up, true); to >= 0 && !stay {
					p.leader = int32(to)
				}
			}
		}
	}
}

// Up reports whether a broker is up.
func (c *Cluster) Up(id int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(id) < len(c.up) && id >= 0 && c.up[id]
}

// Move gives a partition another leader, -1 for none.
func (c *Cluster) Move(name string, i int, leader int32) {
	c.edit(name, i, func(p *partition) { p.leader = leader })
}

// Starve takes in-sync replicas away from a partition, or gives them back.
func (c *Cluster) Starve(name string, i int, starved bool) {
	c.edit(name, i, func(p *partition) { p.starved = starved })
}

func (c *Cluster) edit(name string, i int, edit func(*partition)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil && i < len(t.partitions) {
		edit(t.partitions[i])
	}
}

// Heal starts all brokers and gives every partition a leader and its replicas.
func (c *Cluster) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.up {
		c.up[i] = true
	}
	for _, t := range c.topics {
		for i, p := range t.partitions {
			p.starved = false
			if p.leader < 0 {
				p.leader = int32(i % len(c.up))
			}
		}
	}
}

// NewProducer hands out a producer id, as InitProducerId does. Ids begin at 0 in each cluster.
func (c *Cluster) NewProducer() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.producers++
	return c.producers - 1
}

// LastProducer is the producer that wrote to a partition last, and the sequence that it goes on with; false: there is none.
func (c *Cluster) LastProducer(name string, i int) (id int64, epoch int16, next int32, ok bool) {
	c.edit(name, i, func(p *partition) { id, epoch, next, ok = p.last() })
	return id, epoch, next, ok
}

// Append is a batch that arrives at a broker for a partition.
func (c *Cluster) Append(broker int32, name string, i int32, b *Batch) Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[name]
	if t == nil || i < 0 || int(i) >= len(t.partitions) {
		return refused(CodeUnknownTopic)
	}
	p := t.partitions[i]
	if p.leader != broker {
		return refused(CodeNotLeader)
	}
	expiry := c.Expiry
	if expiry == 0 {
		expiry = 24 * time.Hour
	}
	r := p.append(&t.cfg, b, time.Now(), expiry)
	if r.Appended && c.OnAppend != nil {
		c.OnAppend(name, t.incarnation, i, r.Offset, b)
	}
	return r
}

// metadata answers a metadata request with the state as it is now.
func (c *Cluster) metadata(names []string) *metadata.Response {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &metadata.Response{ClusterID: c.ID, ControllerID: int32(slices.Index(c.up, true))}
	for id, up := range c.up {
		if up {
			res.Brokers = append(res.Brokers, metadata.ResponseBroker{NodeID: int32(id), Host: fmt.Sprint("broker-", id), Port: 9092})
		}
	}
	for _, name := range names {
		rt := metadata.ResponseTopic{Name: name}
		t := c.topics[name]
		if t == nil {
			rt.ErrorCode = CodeUnknownTopic
			res.Topics = append(res.Topics, rt)
			continue
		}
		for i, p := range t.partitions {
			rp := metadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: p.leader}
			if p.leader < 0 {
				rp.ErrorCode = CodeLeaderNotAvailable
			} else {
				rp.ReplicaNodes, rp.IsrNodes = []int32{p.leader}, []int32{p.leader}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// answer serves the requests that any broker takes.
func (c *Cluster) answer(req protocol.Message) protocol.Message {
	switch r := req.(type) {
	case *metadata.Request:
		return c.metadata(r.TopicNames)
	case *createtopics.Request:
		return c.create(r)
	case *apiversions.Request:
		return versions()
	case *describeconfigs.Request:
		return c.describe(r)
	}
	if req.ApiKey() == protocol.InitProducerId {
		return &initproducerid.Response{ProducerID: c.NewProducer()}
	}
	panic(fmt.Sprintf("simkafka: no model of %T", req))
}

// versions is what a broker of Kafka 4.1 takes of the requests that are modelled.
func versions() *apiversions.Response {
	return &apiversions.Response{ApiKeys: []apiversions.ApiKeyResponse{
		{ApiKey: int16(protocol.Produce), MaxVersion: 13}, {ApiKey: int16(protocol.Metadata), MaxVersion: 13},
		{ApiKey: int16(protocol.ApiVersions), MaxVersion: 4}, {ApiKey: int16(protocol.CreateTopics), MinVersion: 2, MaxVersion: 7},
		{ApiKey: int16(protocol.InitProducerId), MaxVersion: 6}, {ApiKey: int16(protocol.DescribeConfigs), MinVersion: 1, MaxVersion: 4},
	}}
}

func (c *Cluster) create(r *createtopics.Request) *createtopics.Response {
	res := &createtopics.Response{}
	for _, want := range r.Topics {
		rt := createtopics.ResponseTopic{Name: want.Name, NumPartitions: want.NumPartitions, ReplicationFactor: 1}
		n := int(want.NumPartitions)
		if n <= 0 {
			n = c.partitions
		}
		switch {
		case c.ForbidTopics:
			rt.ErrorCode = CodeTopicAuthorization
		case c.Partitions(want.Name) > 0:
			rt.ErrorCode = CodeTopicExists
		default:
			c.CreateTopic(want.Name, n, TopicConfig{})
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// ofTopic is the type of a resource that is a topic (ConfigResource.Type.TOPIC).
const ofTopic = 2

func (c *Cluster) describe(r *describeconfigs.Request) *describeconfigs.Response {
	res := &describeconfigs.Response{}
	for _, want := range r.Resources {
		rr := describeconfigs.ResponseResource{ResourceType: want.ResourceType, ResourceName: want.ResourceName}
		if want.ResourceType == ofTopic && c.Partitions(want.ResourceName) == 0 {
			rr.ErrorCode = CodeUnknownTopic
		}
		for _, name := range want.ConfigNames {
			if value, ok := c.config(want.ResourceName, name); ok {
				rr.ConfigEntries = append(rr.ConfigEntries, describeconfigs.ResponseConfigEntry{ConfigName: name, ConfigValue: value})
			}
		}
		res.Resources = append(res.Resources, rr)
	}
	return res
}

// config is one value of a broker or topic.
func (c *Cluster) config(resource, name string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[resource]
	switch {
	case name == "producer.id.expiration.ms" && c.Expiry != 0:
		return strconv.FormatInt(c.Expiry.Milliseconds(), 10), true
	case name == "producer.id.expiration.ms":
		return "86400000", true
	case t == nil:
		return "", false
	case name == "message.timestamp.type" && t.cfg.LogAppendTime:
		return "LogAppendTime", true
	case name == "message.timestamp.type":
		return "CreateTime", true
	case name == "max.message.bytes" && t.cfg.MaxMessageBytes != 0:
		return strconv.Itoa(t.cfg.MaxMessageBytes), true
	case name == "max.message.bytes":
		return strconv.Itoa(defaultMaxMessageBytes), true
	}
	return "", false
}
