package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/printable"
	"functiongraph-ingest/pkg/sink/kafka"
)

// letter is one dead letter, as dlq show prints it, a line each. What was mended has another value or valueBase64.
type letter struct {
	Partition   int32             `json:"partition"`
	Offset      int64             `json:"offset"`
	Time        time.Time         `json:"time"`
	Reason      string            `json:"reason"`
	Function    string            `json:"function,omitempty"`
	Key         string            `json:"key,omitempty"`
	KeyBase64   []byte            `json:"keyBase64,omitempty"` // in place of a key that is no text
	Headers     map[string]string `json:"headers"`
	Value       *string           `json:"value,omitempty"`       // nil: it is no text
	ValueBase64 []byte            `json:"valueBase64,omitempty"` // in place of value
}

// letters runs the dlq commands.
func letters(inv *config.Invocation, stdout, stderr io.Writer) int {
	var read *reading
	var err error
	if inv.Letters.Input == "" || inv.Letters.To == toTopic { // else Kafka is not needed
		if read, err = newReading(inv.Config); err != nil {
			return complain(stderr, err)
		}
	}
	stop, _, end := signals()
	defer end()
	w := bufio.NewWriter(stdout)
	switch inv.Command {
	case "dlq ls":
		err = read.countLetters(stop, inv, w, stderr)
	case "dlq show":
		err = read.showLetters(stop, inv, w, stderr)
	case "dlq resend":
		err = read.resend(stop, inv, w, stderr)
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		fmt.Fprintln(stderr, "ingest: "+err.Error())
		return exitFailed
	}
	return exitOK
}

// errEnough ends a reading.
var errEnough = errors.New("enough")

// each passes the dead letters that were asked for to yield.
func (r *reading) each(ctx context.Context, inv *config.Invocation, stderr io.Writer, yield func(*letter) error) error {
	o := inv.Letters
	q := kafka.Query{Topic: r.cfg.DeadLetterTopic, Since: inv.Range.Since, Until: inv.Range.Until}
	_, err := r.topic(ctx, q, true, stderr, func(c *kafka.Consumed) error {
		l := letterOf(c)
		if len(o.Reasons) > 0 && !slices.Contains(o.Reasons, l.Reason) || len(o.Functions) > 0 && !slices.Contains(o.Functions, l.Function) {
			return nil
		}
		return yield(l)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func letterOf(c *kafka.Consumed) *letter {
	l := &letter{Partition: c.Partition, Offset: c.At, Time: c.Time(), Headers: map[string]string{}}
	for _, h := range c.Headers {
		l.Headers[h.Key] = string(h.Value)
	}
	l.Reason, l.Function = l.Headers[kafka.HeaderReason], l.Headers["ingest-function"]
	if utf8.Valid(c.Key) {
		l.Key = string(c.Key)
	} else {
		l.KeyBase64 = c.Key
	}
	if utf8.Valid(c.Value) {
		text := string(c.Value)
		l.Value = &text
	} else {
		l.ValueBase64 = c.Value
	}
	return l
}

// bytes is the value.
func (l *letter) bytes() []byte {
	if l.Value != nil {
		return []byte(*l.Value)
	}
	return l.ValueBase64
}

// lot is a line of dlq ls.
type lot struct {
	Reason   string    `json:"reason"`
	Function string    `json:"function"`
	Letters  int64     `json:"letters"`
	Bytes    int64     `json:"bytes"`
	Oldest   time.Time `json:"oldest"`
	Newest   time.Time `json:"newest"`
}

// maxLots bounds the memory, because writers to the topic choose reasons and functions.
const maxLots = 10_000

func (r *reading) countLetters(ctx context.Context, inv *config.Invocation, w, stderr io.Writer) error {
	lots := map[[2]string]*lot{}
	err := r.each(ctx, inv, stderr, func(l *letter) error {
		key := [2]string{l.Reason, l.Function}
		n := lots[key]
		if n == nil {
			if len(lots) == maxLots {
				return fmt.Errorf("more than %d pairs of reason and function: narrow it with --reason, --function or --since", maxLots)
			}
			n = &lot{Reason: l.Reason, Function: l.Function, Oldest: l.Time, Newest: l.Time}
			lots[key] = n
		}
		n.Letters++
		n.Bytes += int64(len(l.bytes()))
		if l.Time.Before(n.Oldest) {
			n.Oldest = l.Time
		}
		if l.Time.After(n.Newest) {
			n.Newest = l.Time
		}
		return nil
	})
	if err != nil {
		return err
	}
	list := make([]*lot, 0, len(lots))
	for _, n := range lots {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *lot) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Function, b.Function))
	})
	if inv.JSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(list)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "reason\tfunction\tletters\tbytes\toldest\tnewest")
	for _, n := range list {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\n", printable.Text(n.Reason), printable.Text(n.Function), n.Letters, n.Bytes, n.Oldest.Format(time.RFC3339), n.Newest.Format(time.RFC3339))
	}
	return t.Flush()
}

func (r *reading) showLetters(ctx context.Context, inv *config.Invocation, w, stderr io.Writer) error {
	left := inv.Letters.Limit
	return r.each(ctx, inv, stderr, func(l *letter) error {
		line, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(printable.AppendJSON(nil, line), '\n')); err != nil {
			return err
		}
		if left--; left == 0 {
			return errEnough
		}
		return nil
	})
}

// key is the record's key; nil: it has none.
func (l *letter) key() []byte {
	if l.Key != "" {
		return []byte(l.Key)
	}
	return l.KeyBase64
}

// byteOrderMark is what some editors put before a text.
const byteOrderMark = "\xef\xbb\xbf"

// lettersOf passes the letters of a file of dlq show to yield, however an editor or jq has laid out their lines: all of
// them, or none of a broken file. A pipe can be read only once, so yield gets what stands before the fault.
func lettersOf(name string, yield func(*letter) error) error {
	file := os.Stdin
	if name != "-" {
		var err error
		if file, err = os.Open(name); err != nil {
			return err
		}
		defer file.Close()
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		start, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err := readLetters(name, file, func(*letter) error { return nil }); err != nil {
			return err
		}
		if _, err := file.Seek(start, io.SeekStart); err != nil {
			return err
		}
	}
	return readLetters(name, file, yield)
}

func readLetters(name string, file io.Reader, yield func(*letter) error) error {
	text := bufio.NewReader(file)
	if front, _ := text.Peek(len(byteOrderMark)); string(front) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark))
	}
	all := json.NewDecoder(text)
	for n := 1; ; n++ {
		l := &letter{}
		err := all.Decode(l)
		if err == io.EOF {
			return nil
		}
		if err == nil && l.Value == nil && l.ValueBase64 == nil {
			err = errors.New("it has neither value nor valueBase64")
		}
		if err != nil {
			return fmt.Errorf("letter %d of %s is none of \"ingest dlq show\": %w", n, name, err)
		}
		if err := yield(l); err != nil {
			return err
		}
	}
}
