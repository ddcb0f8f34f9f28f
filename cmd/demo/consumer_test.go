package main

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/internal/fgsim"
)

func reader() *consumer {
	return &consumer{next: map[place]int64{}, stats: consumerStats{reasons: map[string]int64{}, last: map[place]sample{}}}
}

func TestTakeNotesEachRecord(t *testing.T) {
	c := reader()
	c.take(&kgo.Record{Topic: topic, Partition: 2, Key: []byte("k"), Value: []byte("v")})
	c.take(&kgo.Record{Topic: deadTopic, Value: []byte("w"), Headers: []kgo.RecordHeader{{Key: reasonHeader, Value: []byte("truncated")}}})
	want := []fgsim.Sighting{{Key: "k", Value: []byte("v"), Partition: 2}, {Value: []byte("w"), DeadLetter: true}}
	if !reflect.DeepEqual(c.all.sightings, want) || c.all.odd != 0 {
		t.Errorf("%+v, want %+v; %v", c.all.sightings, want, c.all.oddities)
	}
	if c.stats.events != 1 || c.stats.dead != 1 || c.stats.reasons["truncated"] != 1 {
		t.Errorf("%+v", c.stats)
	}
	ends := map[place]int64{{topic, 2}: 3, {deadTopic, 0}: 1, {topic, 0}: 0}
	if n := c.behind(ends); n != 2 {
		t.Errorf("%d behind, want 2", n)
	}
}

// What a gap hides, the account may not see.
func TestTakeFindsOddities(t *testing.T) {
	one := []byte("v")
	for _, tt := range []struct {
		name    string
		records []kgo.Record
		odd     int
	}{
		{"none", []kgo.Record{{Topic: topic, Value: one}, {Topic: topic, Offset: 1, Value: one}}, 0},
		{"partitions have offsets of their own", []kgo.Record{{Topic: topic, Value: one}, {Topic: topic, Partition: 1, Value: one}}, 0},
		{"does not begin at 0", []kgo.Record{{Topic: topic, Offset: 1, Value: one}}, 1},
		{"gap", []kgo.Record{{Topic: topic, Value: one}, {Topic: topic, Offset: 2, Value: one}}, 1},
		{"again", []kgo.Record{{Topic: topic, Value: one}, {Topic: topic, Value: one}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := reader()
			for i := range tt.records {
				c.take(&tt.records[i])
			}
			if c.all.odd != tt.odd || len(c.all.oddities) != tt.odd {
				t.Errorf("%d oddities %q, want %d", c.all.odd, c.all.oddities, tt.odd)
			}
		})
	}
}
