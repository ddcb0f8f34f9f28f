// Command stub is an HTTP-to-Kafka program of others, for the suite's tests: every body is a record, answered 200
// when Kafka has it. It can be told to lose some.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net/http"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	listen := flag.String("listen", "", "address")
	brokers := flag.String("brokers", "", "of Kafka")
	topic := flag.String("topic", "", "to write to")
	lose := flag.Int64("lose", 0, "lose every so many bodies; 0: none")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*brokers, ",")...), kgo.DefaultProduceTopic(*topic))
	if err != nil {
		log.Fatal(err)
	}
	var n atomic.Int64
	http.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/v1/events", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && (*lose == 0 || n.Add(1)%*lose != 0) {
			err = cl.ProduceSync(r.Context(), &kgo.Record{Value: body}).FirstErr()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	s := &http.Server{Addr: *listen}
	context.AfterFunc(ctx, func() { _ = s.Shutdown(context.Background()); cl.Close() })
	if err := s.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
