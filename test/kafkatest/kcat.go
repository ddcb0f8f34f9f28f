package kafkatest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// Message is one record as kcat reports it. Key and Value are exact, whatever bytes they hold.
type Message struct {
	Partition int
	Offset    int64
	Timestamp int64  // milliseconds since the Unix epoch
	Key       []byte // nil when the record has no key, empty when its key is empty
	Value     []byte // nil for a tombstone
	Headers   []Header
}

// Header is one record header. kcat prints headers as text, so only headers without a comma in name or
// value come back exactly.
type Header struct{ Key, Value string }

// Header returns the value of the first header with that name.
func (m *Message) Header(key string) (string, bool) {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value, true
		}
	}
	return "", false
}

// Consume reads all of a topic with kcat, from the oldest record to the end that each partition had
// when kcat reached it. Messages of one partition are in order. kcat checks the CRC of every batch.
func Consume(ctx context.Context, bootstrap, topic string) ([]Message, error) {
	var all []Message
	err := ConsumeEach(ctx, bootstrap, topic, func(m *Message) error {
		all = append(all, *m)
		return nil
	})
	return all, err
}

// ConsumeEach is Consume for topics that shall not be held in memory. The message belongs to each; it
// is not used again.
func ConsumeEach(ctx context.Context, bootstrap, topic string, each func(*Message) error) error {
	path, err := exec.LookPath("kcat")
	if err != nil {
		return fmt.Errorf("kcat %w", ErrUnavailable)
	}
	// Lengths stand in front of key and value, so their bytes can be anything. Headers have no
	// length: what ends a record is a mark that nobody can have written before.
	mark := "\n" + rand.Text() + "\n"
	format := `%p %o %T %K %S\n%k%s%h` + strings.ReplaceAll(mark, "\n", `\n`)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-C", "-q", "-e", "-b", bootstrap, "-t", topic, "-o", "beginning",
		"-f", format, "-X", "check.crcs=true", "-X", "fetch.wait.max.ms=10", "-X", "fetch.message.max.bytes=8388608",
		"-X", "socket.timeout.ms=10000")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := readMessages(bufio.NewReaderSize(out, 1<<20), []byte(mark), each)
	if readErr != nil {
		cancel() // it would wait for ever for a reader of its output
	}
	if err := cmd.Wait(); err != nil && readErr == nil {
		return fmt.Errorf("kcat: %w: %s", err, tail(stderr.Bytes()))
	}
	if readErr != nil {
		return fmt.Errorf("output of kcat: %w: %s", readErr, tail(stderr.Bytes()))
	}
	return nil
}

func readMessages(r *bufio.Reader, mark []byte, each func(*Message) error) error {
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("a record's first line %q: %w", line, err)
		}
		m, keyLen, valueLen, err := parseFirstLine(line)
		if err != nil {
			return err
		}
		if m.Key, err = readBytes(r, keyLen); err != nil {
			return fmt.Errorf("key at offset %d: %w", m.Offset, err)
		}
		if m.Value, err = readBytes(r, valueLen); err != nil {
			return fmt.Errorf("value at offset %d: %w", m.Offset, err)
		}
		headers, err := readUntil(r, mark)
		if err != nil {
			return fmt.Errorf("headers at offset %d: %w", m.Offset, err)
		}
		m.Headers = parseHeaders(headers)
		if err := each(m); err != nil {
			return err
		}
	}
}

// parseFirstLine reads "partition offset timestamp keyLength valueLength\n".
func parseFirstLine(line []byte) (m *Message, keyLen, valueLen int, err error) {
	var n [5]int64
	fields := bytes.Fields(line)
	if len(fields) != len(n) {
		return nil, 0, 0, fmt.Errorf("a record's first line %q has %d fields, want %d", line, len(fields), len(n))
	}
	for i, f := range fields {
		if n[i], err = strconv.ParseInt(string(f), 10, 64); err != nil {
			return nil, 0, 0, fmt.Errorf("a record's first line %q: %w", line, err)
		}
	}
	m = &Message{Partition: int(n[0]), Offset: n[1], Timestamp: n[2]}
	return m, int(n[3]), int(n[4]), nil
}

// readBytes reads n bytes; -1 stands for null.
func readBytes(r *bufio.Reader, n int) ([]byte, error) {
	if n < 0 {
		return nil, nil
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}

// readUntil returns what stands before mark, which ends with a newline.
func readUntil(r *bufio.Reader, mark []byte) ([]byte, error) {
	var b []byte
	for {
		part, err := r.ReadSlice('\n')
		if b = append(b, part...); bytes.HasSuffix(b, mark) {
			return b[:len(b)-len(mark)], nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

func parseHeaders(b []byte) []Header {
	if len(b) == 0 {
		return nil
	}
	var headers []Header
	for part := range strings.SplitSeq(string(b), ",") {
		key, value, _ := strings.Cut(part, "=")
		headers = append(headers, Header{Key: key, Value: value})
	}
	return headers
}
