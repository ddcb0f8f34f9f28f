package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Range bounds the timestamps of records that are read. Zero: from the beginning, to the end.
type Range struct {
	Since, Until time.Time
	// Offsets are those of single partitions of --topic: from the first up to, not including, the second; -1: to the end. Only
	// audit has them.
	Offsets map[int32][2]int64
}

// LetterOptions are the flags of the dlq commands. They are no settings.
type LetterOptions struct {
	Reasons   []string // only these; nil: all
	Functions []string // only of these; nil: all
	Limit     int      // show; 0: all
	To        string   // resend
	TokenFile string   // resend: of the token for To; "": none
	CA        string   // resend: PEM file of the authorities to trust; "": the system's
	Cert, Key string   // resend: PEM files of the certificate to show; "": none, and in Cert
	Input     string   // resend: lines of show in place of the topic; "": the topic
	DryRun    bool     // resend
}

func (o *options) addRange(flags *pflag.FlagSet) {
	flags.StringVar(&o.since, "since", "", "Only records of this `AGE` at most (2h) or from this time on (RFC 3339).")
	flags.StringVar(&o.until, "until", "", "Only records older than this `AGE` or from before this time.")
}

func (o *options) addLetters(flags *pflag.FlagSet) {
	o.addRange(flags)
	flags.StringSliceVar(&o.letters.Reasons, "reason", nil, "Only dead letters for these `REASONS`.")
	flags.StringSliceVar(&o.letters.Functions, "function", nil, "Only dead letters of these `FUNCTIONS` (ingest-function).")
}

// parseOffsets reads PARTITION:FIRST-LAST, where LAST may be left out.
func parseOffsets(list []string) (offsets map[int32][2]int64, err error) {
	for _, text := range list {
		part, span, ok := strings.Cut(strings.TrimSpace(text), ":")
		first, last, isRange := strings.Cut(span, "-")
		p, err := strconv.ParseInt(part, 10, 32)
		from, err2 := strconv.ParseUint(first, 10, 62)
		to := uint64(0)
		var err3 error
		if last != "" {
			to, err3 = strconv.ParseUint(last, 10, 62)
		}
		_, twice := offsets[int32(p)]
		if !ok || !isRange || p < 0 || errors.Join(err, err2, err3) != nil || last != "" && to < from || twice {
			return nil, fmt.Errorf("--offsets: %q must be PARTITION:FIRST-LAST or PARTITION:FIRST-, each partition once", text)
		}
		if offsets == nil {
			offsets = map[int32][2]int64{}
		}
		offsets[int32(p)] = [2]int64{int64(from), int64(to) + 1}
		if last == "" {
			offsets[int32(p)] = [2]int64{int64(from), -1}
		}
	}
	return offsets, nil
}

// window reads --since, --until and --offsets.
func (o *options) window(now time.Time) (r Range, err error) {
	var other error
	r.Since, err = parseSince("since", o.since, now)
	r.Until, other = parseSince("until", o.until, now)
	err = errors.Join(err, other)
	if r.Offsets, other = parseOffsets(o.offsets); other != nil {
		return r, errors.Join(err, other)
	}
	if r.Offsets != nil && (o.since != "" || o.until != "") {
		return r, errors.New("--offsets: stands in place of --since and --until")
	}
	if err == nil && !r.Since.IsZero() && !r.Until.IsZero() && !r.Since.Before(r.Until) {
		err = errors.New("--until: must be later than --since")
	}
	return r, err
}
