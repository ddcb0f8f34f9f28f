package recordbatch

import "encoding/binary"

// Murmur2 is the hash of Kafka's Java client (org.apache.kafka.common.utils.Utils.murmur2).
func Murmur2(key []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
	)
	h := uint32(seed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}

// Partition is where the Java client's default partitioner puts a key, an empty one included, in a
// topic with n > 0 partitions: consumers may join by key with topics that others produce.
func Partition(key []byte, n int) int {
	return int(Murmur2(key)&0x7fffffff) % n
}
