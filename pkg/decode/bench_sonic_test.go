//go:build !purego && !go1.28 && (amd64 || arm64)

package decode

import "github.com/bytedance/sonic/decoder"

// sonicUnmarshal is sonic.Unmarshal with its default options, line for line. The package itself would
// pull sonic's encoder and its dependencies into the module for this benchmark alone.
func sonicUnmarshal(body []byte, v any) error {
	d := decoder.NewDecoder(string(body))
	if err := d.Decode(v); err != nil {
		return err
	}
	return d.CheckTrailings()
}

func sonicContenders() []contender {
	return []contender{{"sonic-unmarshal", func(body []byte) int {
		var evs []jsonEvent
		if sonicUnmarshal(body, &evs) != nil {
			return 0
		}
		return len(evs)
	}}}
}
