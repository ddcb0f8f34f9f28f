package config

import "slices"

// categoryTopic is the topic of a category of events, and the setting that names it.
type categoryTopic struct{ name, topic string }

func (c *Config) categoryTopics() []categoryTopic {
	return []categoryTopic{{"topic-platform", c.TopicPlatform}, {"topic-function", c.TopicFunction}, {"topic-extension", c.TopicExtension}}
}

// Topics are the topics of events, each once: --topic, then those of categories that are others.
func (c *Config) Topics() []string {
	list := []string{c.Topic}
	for _, t := range c.categoryTopics() {
		if t.topic != "" && !slices.Contains(list, t.topic) {
			list = append(list, t.topic)
		}
	}
	return list
}

// TopicIndex is the place in Topics of the topic of that name; "" is --topic. -1: it is none of them.
func (c *Config) TopicIndex(name string) int {
	if name == "" {
		return 0
	}
	return slices.Index(c.Topics(), name)
}
