package config

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// Range bounds the timestamps of records that are read. Zero: from the beginning, to the end.
type Range struct{ Since, Until time.Time }

// LetterOptions are the flags of the dlq commands. They are no settings.
type LetterOptions struct {
	Reasons   []string // only these; nil: all
	Functions []string // only of these; nil: all
	Limit     int      // show; 0: all
	To        string   // resend
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

// window reads --since and --until.
func (o *options) window(now time.Time) (r Range, err error) {
	var other error
	r.Since, err = parseSince("since", o.since, now)
	r.Until, other = parseSince("until", o.until, now)
	err = errors.Join(err, other)
	if err == nil && !r.Since.IsZero() && !r.Until.IsZero() && !r.Since.Before(r.Until) {
		err = errors.New("--until: must be later than --since")
	}
	return r, err
}
