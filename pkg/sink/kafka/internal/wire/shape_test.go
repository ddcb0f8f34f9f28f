package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
)

// asked are the requests that are sent.
var asked = []protocol.ApiKey{
	protocol.ApiVersions, protocol.SaslHandshake, protocol.SaslAuthenticate, protocol.Metadata,
	protocol.InitProducerId, protocol.Produce, protocol.CreateTopics, protocol.DescribeConfigs, protocol.DescribeClientQuotas,
}

// fill sets every field of a message, lists to n elements.
func fill(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.String:
		v.SetString("seven"[:min(n, 5)])
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			if e := v.Index(i); e.Kind() == reflect.Uint8 {
				e.SetUint(7)
			} else {
				fill(e, n)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).PkgPath == "" {
				fill(v.Field(i), n)
			}
		}
	}
}

// answerBody is an answer as kafka-go's own server side encodes it, without length and correlation id.
func answerBody(tb testing.TB, k protocol.ApiKey, version int16, n int) []byte {
	tb.Helper()
	v := reflect.New(responseType(k))
	fill(v.Elem(), n)
	var b bytes.Buffer
	if err := protocol.WriteResponse(&b, version, 1, v.Interface().(protocol.Message)); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()[8:]
}

// eachAnswer calls f with every answer in every version that kafka-go knows.
func eachAnswer(f func(k protocol.ApiKey, version int16)) {
	for _, k := range asked {
		for v := k.MinVersion(); v <= k.MaxVersion(); v++ {
			f(k, v)
		}
	}
}

// The shape is the answer's, byte for byte: whole answers pass, and no beginning or extension of one does.
func TestShapesAreKafkaGos(t *testing.T) {
	eachAnswer(func(k protocol.ApiKey, version int16) {
		s, flexible := shapeOf(responseType(k), version)
		for n := range 4 {
			body := answerBody(t, k, version, n)
			if err := checkAnswer(body, &s, flexible); err != nil {
				t.Errorf("%v v%d with lists of %d: %v", k, version, n, err)
			}
			for i := range body {
				if checkAnswer(body[:i], &s, flexible) == nil {
					t.Errorf("%v v%d: %d of %d bytes pass", k, version, i, len(body))
				}
			}
			if checkAnswer(append(body, 0), &s, flexible) == nil {
				t.Errorf("%v v%d: a byte too many passes", k, version)
			}
		}
	})
}

// Every four and every two bytes of an answer may be a length.
func TestLengthsThatDoNotFit(t *testing.T) {
	eachAnswer(func(k protocol.ApiKey, version int16) {
		s, flexible := shapeOf(responseType(k), version)
		body := answerBody(t, k, version, 2)
		for i := range len(body) - 3 {
			for _, x := range []uint32{math.MaxInt32, math.MaxUint32 - 4, 1 << 31, 1 << 24, 0xffffff0f, 0xffffffff} {
				attack := bytes.Clone(body)
				binary.BigEndian.PutUint32(attack[i:], x)
				decodeAccepted(t, k, version, attack, &s, flexible)
				decodeAccepted(t, k, version, attack[:i+4], &s, flexible)
			}
		}
	})
}

// decodeAccepted lets kafka-go decode what the check accepts: no panic, no error, and memory in proportion to the
// bytes.
func decodeAccepted(tb testing.TB, k protocol.ApiKey, version int16, body []byte, s *shape, flexible bool) {
	tb.Helper()
	if checkAnswer(body, s, flexible) != nil {
		return
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	frame = append(binary.BigEndian.AppendUint32(frame, 1), body...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := protocol.ReadResponse(bytes.NewReader(frame), k, version)
	runtime.ReadMemStats(&after)
	if err != nil {
		tb.Errorf("%v v%d: kafka-go cannot decode what passes: %v\n%x", k, version, err, body)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+100*uint64(len(body)) {
		tb.Errorf("%v v%d: %d bytes take %d bytes of memory\n%x", k, version, len(body), n, body)
	}
}

func FuzzAnswer(f *testing.F) {
	eachAnswer(func(k protocol.ApiKey, version int16) {
		f.Add(uint8(slices.Index(asked, k)), uint8(version-k.MinVersion()), answerBody(f, k, version, 2))
	})
	f.Fuzz(func(t *testing.T, k, version uint8, body []byte) {
		key := asked[int(k)%len(asked)]
		v := key.MinVersion() + int16(version)%(key.MaxVersion()-key.MinVersion()+1)
		s, flexible := shapeOf(responseType(key), v)
		decodeAccepted(t, key, v, body, &s, flexible)
	})
}
