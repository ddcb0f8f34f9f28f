//go:build !386

// Package front is the half of a hand-written HTTP-to-Kafka program that does not depend on its Kafka client: fasthttp
// takes a body, sonic takes it apart, and the answer is 200 when the client says that Kafka has all events.
package front

import (
	"bytes"
	"flag"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/bytedance/sonic"
	"github.com/valyala/fasthttp"
)

// Event is what becomes one record. Both slices belong to the callee.
type Event struct{ Key, Value []byte }

// Client sends events. Put returns when Kafka has all of them, or with an error when it may not have some.
type Client interface {
	Put(events []Event) error
	Close() error
}

// Main reads the flags --listen, --brokers and --topic, and serves until SIGTERM.
func Main(connect func(brokers []string, topic string) (Client, error)) {
	listen := flag.String("listen", "127.0.0.1:8080", "address to take bodies on")
	brokers := flag.String("brokers", "127.0.0.1:9092", "of Kafka, with commas between them")
	topic := flag.String("topic", "telemetry", "topic to write to")
	flag.Parse()
	client, err := connect(strings.Split(*brokers, ","), *topic)
	if err != nil {
		log.Fatal(err)
	}
	server := &fasthttp.Server{Handler: Handler(client), MaxRequestBodySize: 16 << 20}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-ended
		if err := server.Shutdown(); err != nil {
			log.Print(err)
		}
	}()
	if err := server.ListenAndServe(*listen); err != nil {
		log.Fatal(err)
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
}

// Handler answers 200 when Kafka has the events of a body, 400 when the body is not JSON, and 503 when Kafka may not
// have some.
func Handler(client Client) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		events, err := split(ctx.PostBody())
		if err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadRequest)
			return
		}
		if err := client.Put(events); err != nil {
			ctx.Error(err.Error(), fasthttp.StatusServiceUnavailable)
			ctx.Response.Header.Set(fasthttp.HeaderRetryAfter, "1")
		}
	}
}

// split copies the events out of a body, which fasthttp uses again after the answer.
func split(body []byte) ([]Event, error) {
	body = bytes.Clone(body)
	var raw []sonic.NoCopyRawMessage
	if err := sonic.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	events := make([]Event, len(raw))
	for i, r := range raw {
		events[i].Value = r
		if id, err := sonic.Get(r, "traceId"); err == nil {
			if key, err := id.String(); err == nil {
				events[i].Key = []byte(key)
			}
		}
	}
	return events, nil
}
