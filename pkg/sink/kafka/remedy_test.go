package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	kafkago "github.com/segmentio/kafka-go"

	"functiongraph-ingest/pkg/sink/kafka/internal/wire"
	"functiongraph-ingest/pkg/sink/kafka/recordbatch"
)

// toldToSet are the settings that a remedy tells to set: after the word "set", up to the next clause. A setting with a value
// is told with it.
func toldToSet(remedy string) (names []string) {
	for _, clause := range regexp.MustCompile(`[;,:] | or `).Split(remedy, -1) {
		if clause = strings.TrimPrefix(clause, "or "); strings.HasPrefix(clause, "set ") || strings.HasPrefix(clause, "--") {
			names = append(names, regexp.MustCompile(`--[a-z-]+(=\w+)?`).FindAllString(clause, -1)...)
		}
	}
	return names
}

// With --create-topic a start that took its time advised to set --create-topic. No remedy names a setting that is in
// force, whatever else is set.
func TestNoRemedyNamesWhatIsSet(t *testing.T) {
	t.Parallel()
	for set := range 16 {
		cfg := Config{Brokers: []string{"a:1"}, Topic: "t", DeadLetterTopic: "t.dlq", CreateTopic: set&1 != 0, PreferIdempotence: set&2 != 0}
		var deps Deps
		in := []string{}
		if cfg.CreateTopic {
			in = append(in, "--create-topic")
		}
		if cfg.PreferIdempotence {
			in = append(in, "--idempotence=prefer")
		}
		if set&4 != 0 {
			deps.Secure = trusting(nil)
			in = append(in, "--tls")
		}
		if set&8 != 0 {
			cfg.SASL = SASL{"PLAIN", "user", "secret"}
			in = append(in, "--sasl")
		}
		for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.Gzip, recordbatch.Snappy, recordbatch.LZ4, recordbatch.Zstd} {
			cfg.Codec = codec
			checkRemedies(t, cfg, deps, append(slices.Clip(in), "--codec="+fmt.Sprint(codec)))
		}
	}
}

func checkRemedies(t *testing.T, cfg Config, deps Deps, in []string) {
	s := givenBy(&cfg, &deps)
	check := func(of, remedy string) {
		t.Helper()
		if remedy == "" {
			t.Errorf("%s: no remedy", of)
		}
		for _, name := range toldToSet(remedy) {
			if slices.Contains(in, name) {
				t.Errorf("%s: with %q the remedy is %q", of, in, remedy)
			}
		}
	}
	main, dead := &topic{name: "t"}, &topic{name: "t.dlq", dead: true}
	for code := int16(-1); code < 120; code++ {
		for _, of := range []*topic{main, dead} {
			check(codeName(code), s.codeTrouble(of, code, "").remedy())
		}
		err := kafkago.Error(code)
		check("conn "+codeName(code), s.connTrouble(err, unreachable, unresolved, "").remedy())
		_, remedy := Explain(err, &cfg, &deps)
		if code != int16(kafkago.UnknownTopicOrPartition) || !cfg.CreateTopic { // check says that it will be made
			check("explain "+codeName(code), remedy)
		}
	}
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, context.DeadlineExceeded, net.ErrClosed,
		errors.New("something else"), &net.DNSError{Err: "no such host"}, &wire.NotKafkaError{}, &wire.NotKafkaError{TLS: true}, tls.RecordHeaderError{},
		&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED},
	} {
		check(err.Error(), s.lookTrouble(err).remedy())
		check(err.Error(), s.sendTrouble(err, 1).remedy())
		if _, remedy := Explain(err, &cfg, &deps); remedy != "" {
			check("explain "+err.Error(), remedy)
		}
	}
	for k := noTrouble + 1; k < troubleKinds; k++ {
		if k == topicMissing && cfg.CreateTopic {
			continue // it is topicComing or createRefused then
		}
		check(kinds[k].word, s.remedy(k))
	}
}
