//go:build purego || nosonic || go1.28 || !(amd64 || arm64)

package decode

func sonicContenders() []contender { return nil }
