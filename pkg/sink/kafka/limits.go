package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"
)

const (
	settingRequestBytes = "socket.request.max.bytes"
	settingExpiry       = "producer.id.expiration.ms"

	// defaultExpiry is Kafka's default of settingExpiry.
	defaultExpiry = 24 * time.Hour
	// requestHead is room for what a produce request has beside its batches: names, and some bytes for each partition.
	requestHead = 4 << 10
	// leastTold is the smallest setting that is believed: with less nothing can be delivered.
	leastTold = 16 << 10
	// Where a broker does not tell, two requests in a row whose connection it ended have the next ones hold half as
	// much, down to leastRequest, and after growAfter with answers twice as much again.
	cutsToShrink = 2
	leastRequest = 64 << 10
)

// requestBound is how much a broker takes in one request, and how that became known. Guarded by core.mu.
type requestBound struct {
	asked  bool // the broker has answered the question, or did not; nothing is sent before
	known  bool // it has answered; else it is asked again after the next look at the cluster
	asking bool
	told   int           // for all batches of a request, by the broker's setting; 0: it did not tell
	now    int           // for all batches of the next request
	expiry time.Duration // how long it remembers a producer that is silent; 0: it did not tell
	cuts   int           // requests in a row whose connection the broker ended
	shrunk time.Time
}

// learnLimits asks a new broker for two settings: how large a request may be, and how long it remembers a producer. Not
// knowing means Kafka's defaults: it may not be allowed to ask. Batches wait for the first attempt, which has a part of
// RequestTimeout.
func (s *kafkaCluster) learnLimits(b *broker) {
	s.mu.Lock()
	cluster := s.clusterID
	s.mu.Unlock()
	known := s.askLimits(Peer{b.id, cluster}, b)
	s.mu.Lock()
	defer s.mu.Unlock()
	b.bound.asking, b.bound.known = false, known && cluster == s.clusterID
}

// askAgainLocked asks brokers that have not answered yet. Without an answer, copies would not be counted on brokers that forget
// producers sooner than by default.
func (s *kafkaCluster) askAgainLocked() {
	for _, b := range s.brokers {
		if !b.bound.known && !b.bound.asking {
			b.bound.asking = true
			s.tasks.Go(func() { s.learnLimits(b) })
		}
	}
}

// askLimits asks broker b a few times and reports whether it has answered.
func (s *kafkaCluster) askLimits(to Peer, b *broker) bool {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.RequestTimeout/questionPart)
	settings, err := s.client.brokerSettings(ctx, to, settingRequestBytes, settingExpiry)
	cancel()
	for range moreQuestions {
		if s.learnt(b, to.Cluster, settings); err == nil || !s.pause(refreshEvery) {
			return err == nil
		}
		settings, err = s.client.brokerSettings(s.ctx, to, settingRequestBytes, settingExpiry)
	}
	s.learnt(b, to.Cluster, settings)
	return err == nil
}

// learnt takes settings over that a broker of a cluster told. They may be missing, and those of a cluster that is no
// more ours mean nothing.
func (s *kafkaCluster) learnt(b *broker, cluster string, settings map[string]string) {
	bytes, _ := strconv.ParseInt(settings[settingRequestBytes], 10, 64)
	expiry, _ := strconv.ParseInt(settings[settingExpiry], 10, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer b.signal()
	if b.bound.asked = true; cluster != s.clusterID {
		return
	}
	if bytes >= leastTold {
		b.bound.told = int(min(bytes, 1<<30)) - requestHead
		b.bound.now = min(maxRequestBytes, b.bound.told)
		for _, t := range s.all {
			t.limit = min(t.limit, s.mostBytes())
		}
	}
	if expiry > 0 {
		b.bound.expiry = time.Duration(min(expiry, 1<<40)) * time.Millisecond
		s.expiry = s.leastExpiryLocked()
	}
}

// leastExpiryLocked is how long all brokers remember a producer at least. Those that do not tell have Kafka's default.
func (s *core) leastExpiryLocked() time.Duration {
	least := time.Duration(0)
	for _, b := range s.brokers {
		if e := cmp.Or(b.bound.expiry, defaultExpiry); least == 0 || e < least {
			least = e
		}
	}
	return cmp.Or(least, defaultExpiry)
}

// forgetLimitsLocked forgets what brokers of another cluster told or let guess. Those of this one are asked anew.
func (s *core) forgetLimitsLocked() {
	for _, b := range s.brokers {
		b.bound = requestBound{asked: b.bound.asked, asking: b.bound.asking, now: maxRequestBytes}
	}
	for _, t := range s.all {
		t.limit = s.cfg.BatchBytes
	}
	s.expiry = defaultExpiry
}

// mostBytes is how large a batch may be, as far as brokers have told.
func (s *core) mostBytes() int {
	most := s.cfg.BatchBytes
	for _, b := range s.brokers {
		if b.bound.told != 0 {
			most = min(most, max(minSplitLimit, b.bound.told))
		}
	}
	return most
}

// raiseLimit has batches grow again a while after one was refused as too large: the cause may be over, and if it is not,
// the price is one more refusal. s.mu is held.
func (t *topic) raiseLimit(now time.Time) {
	if t.limit >= t.core.cfg.BatchBytes || now.Sub(t.lowered) < growAfter {
		return
	}
	if most := t.core.mostBytes(); t.limit < most {
		t.limit, t.lowered = min(2*t.limit, most), now
	}
}

// adapt learns from how a request of so many bytes ended. s.mu is held.
func (r *requestBound) adapt(bytes int, err error, now time.Time) {
	ended := err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
	switch {
	case err == nil:
		r.cuts = 0
		if r.told == 0 && r.now < maxRequestBytes && now.Sub(r.shrunk) >= growAfter {
			r.now, r.shrunk = min(2*r.now, maxRequestBytes), now
		}
	case !ended || r.told != 0:
	default:
		if r.cuts++; r.cuts >= cutsToShrink && bytes > leastRequest {
			r.cuts, r.shrunk = 0, now
			r.now = max(leastRequest, min(r.now, bytes)/2)
		}
	}
}

// refusal is why the broker cannot take a batch of size bytes, so that it is taken apart without being sent; "": it can.
func (r *requestBound) refusal(size int) string {
	if r.told == 0 || size <= r.told {
		return ""
	}
	return fmt.Sprintf("the broker takes requests of about %d bytes at most (%s)", r.told, settingRequestBytes)
}
