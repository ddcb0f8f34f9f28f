package main

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"functiongraph-ingest/internal/simulator"
)

func reader() *consumer {
	return &consumer{next: map[place]int64{}, stats: consumerStats{reasons: map[string]int64{}, last: map[place]sample{}}}
}

func TestTakeNotesEachRecord(t *testing.T) {
	c := reader()
	id := simulator.ID(7)
	c.take(&kgo.Record{Topic: topic, Partition: 2, Key: []byte("k"), Value: []byte(`{"eventId":"` + id.String() + `"}`)})
	c.take(&kgo.Record{Topic: deadTopic, Value: []byte(id.String()), Headers: []kgo.RecordHeader{{Key: reasonHeader, Value: []byte("truncated")}}})
	want := []sighting{
		{id: 7, sum: sumOf([]byte("k"), []byte(`{"eventId":"`+id.String()+`"}`)), key: sumOf([]byte("k"), nil), partition: 2},
		{id: 7, sum: sumOf(nil, []byte(id.String())), dead: true},
	}
	if !slices.Equal(c.all.sightings, want) || c.all.odd != 0 {
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

// What a gap or a foreign record hides, the event's own checks may not see.
func TestTakeFindsOddities(t *testing.T) {
	one := []byte(simulator.ID(1).String())
	two := []byte(simulator.ID(1).String() + simulator.ID(2).String())
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
		{"no event", []kgo.Record{{Topic: topic, Value: []byte("{}")}}, 1},
		{"a region that took its neighbour along", []kgo.Record{{Topic: deadTopic, Value: two}}, 1},
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
