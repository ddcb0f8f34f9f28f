//go:build !purego && !nosonic && !go1.28 && (amd64 || arm64)

package decode

import "github.com/bytedance/sonic"

func sonicContenders() []contender {
	return []contender{{"sonic-unmarshal", func(body []byte) int {
		var evs []jsonEvent
		if sonic.Unmarshal(body, &evs) != nil {
			return 0
		}
		return len(evs)
	}}}
}
