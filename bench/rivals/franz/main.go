//go:build !386

// Command franz is the program that one writes by hand with fasthttp and franz-go, with the client's defaults: acks by
// all replicas, idempotent, as many retries as it takes.
package main

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/bench/rivals/front"
)

func main() {
	front.Main(func(brokers []string, topic string) (front.Client, error) {
		cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
		return client{cl}, err
	})
}

type client struct{ *kgo.Client }

// Put implements front.Client.
func (c client) Put(events []front.Event) error {
	var wg sync.WaitGroup
	errs := make([]error, len(events))
	wg.Add(len(events))
	for i, e := range events {
		c.Produce(context.Background(), &kgo.Record{Key: e.Key, Value: e.Value}, func(_ *kgo.Record, err error) {
			errs[i] = err
			wg.Done()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close implements front.Client.
func (c client) Close() error {
	err := c.Flush(context.Background())
	c.Client.Close()
	return err
}
