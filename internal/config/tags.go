package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of --tags. They are part of every record, and of the room that the spool keeps around one.
const (
	maxTags     = 16
	maxTagBytes = 1 * KiB // names and values of all
)

// Tag is one of --tags.
type Tag struct{ Name, Value string }

// TagList is --tags; Validate has found it good.
func (c *Config) TagList() []Tag {
	list := make([]Tag, 0, len(c.Tags))
	for _, text := range c.Tags {
		name, value, _ := strings.Cut(text, "=")
		list = append(list, Tag{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return list
}

func (c *Config) checkTags(p *Problems) {
	if len(c.Tags) == 0 {
		return
	}
	if c.Headers == HeadersNone {
		p.add("tags", strings.Join(c.Tags, ","), "are headers of records: needs --headers=standard or cloudevents")
	}
	seen, bytes := map[string]bool{}, 0
	for i, tag := range c.TagList() {
		bytes += len(tag.Name) + len(tag.Value)
		switch {
		case !strings.Contains(c.Tags[i], "=") || !isTagName(tag.Name):
			p.add("tags", c.Tags[i], "must be NAME=VALUE; a name has letters, digits, '-', '_' or '.'")
		case seen[tag.Name]:
			p.add("tags", c.Tags[i], "stands there twice")
		case !utf8.ValidString(tag.Value) || strings.ContainsFunc(tag.Value, unicode.IsControl):
			p.add("tags", c.Tags[i], "must be printable text")
		}
		seen[tag.Name] = true
	}
	if len(c.Tags) > maxTags || bytes > int(maxTagBytes) {
		p.add("tags", "", fmt.Sprintf("at most %d tags with %s together, because every record carries them", maxTags, Bytes(maxTagBytes)))
	}
}

func isTagName(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}
