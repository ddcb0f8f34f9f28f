//go:build !386

// Command writer is the program that one writes by hand with fasthttp and kafka-go's Writer: acks by all replicas, a
// batch waits 5 ms, everything else as the Writer has it.
package main

import (
	"context"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"functiongraph-ingest/bench/rivals/front"
)

func main() {
	front.Main(func(brokers []string, topic string) (front.Client, error) {
		return client{&kafkago.Writer{
			Addr: kafkago.TCP(brokers...), Topic: topic, Balancer: kafkago.Murmur2Balancer{},
			RequiredAcks: kafkago.RequireAll, BatchTimeout: 5 * time.Millisecond,
		}}, nil
	})
}

type client struct{ *kafkago.Writer }

// Put implements front.Client.
func (c client) Put(events []front.Event) error {
	messages := make([]kafkago.Message, len(events))
	for i, e := range events {
		messages[i] = kafkago.Message{Key: e.Key, Value: e.Value}
	}
	return c.WriteMessages(context.Background(), messages...)
}
