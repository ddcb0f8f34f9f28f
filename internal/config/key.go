package config

import "strings"

// traceIDField is the default of --key. It is found however the platform spells it.
const traceIDField = "traceId"

// maxKeyField bounds the name in --key, in bytes.
const maxKeyField = 200

// KeyField is the field that --key names; "" for the traceId, and where events have no key.
func (c *Config) KeyField() string {
	if c.Key == traceIDField || c.Key == Off {
		return ""
	}
	return c.Key
}

func (c *Config) checkKey(p *Problems) {
	bad := func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == '\uFFFD' }
	if c.Key == "" || len(c.Key) > maxKeyField || strings.ContainsFunc(c.Key, bad) {
		p.add("key", c.Key, "must be the name of a field, of at most 200 bytes, without quotes, backslashes and control characters; or off")
	}
}
