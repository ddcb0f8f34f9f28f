package recordbatch

import (
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Source: Apache Kafka, UtilsTest.testMurmur2.
func TestMurmur2JavaVectors(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(Murmur2([]byte(key))); got != want {
			t.Errorf("Murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestPartitionAsFranz(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	franz := kgo.StickyKeyPartitioner(nil).ForTopic("t")
	hasher := kgo.KafkaHasher(Murmur2)
	for length := range 70 {
		for _, n := range []int{1, 2, 3, 4, 12, 256, 1000} {
			key := make([]byte, length)
			for i := range key {
				key[i] = byte(r.Uint32())
			}
			want := franz.Partition(&kgo.Record{Key: key}, n)
			if got := Partition(key, n); got != want || hasher(key, n) != want {
				t.Fatalf("Partition(%q, %d) = %d, franz-go %d", key, n, got, want)
			}
		}
	}
}
