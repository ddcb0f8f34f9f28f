package decode

import "math/bits"

// What the platform sends has shapes that a few compares of whole words recognise: names, times,
// trace ids, metrics. Everything here is a shortcut for valid text only; whatever it does not
// recognise goes the general way.

// odd is 0 if no byte of x is a quote, a backslash, a control byte or beyond ASCII. Since x itself is part
// of the sum, borrows cannot hide a hit.
func odd(x uint64) uint64 {
	return (x | (x - ones*0x20) | ((x ^ ones*'"') - ones) | ((x ^ ones*'\\') - ones)) & tops
}

// timeText and traceText take a string of exactly the usual length whose content starts at p and needs no
// closer look: the offset behind its closing quote, 0 when it is not such a string.
func timeText(b []byte, p int) int {
	if len(b)-p <= timeLen {
		return 0
	}
	t := b[p : p+timeLen+1]
	if odd(word(t, 0))|odd(word(t, 8))|odd(word(t, 16)) != 0 || t[timeLen] != '"' {
		return 0
	}
	return p + timeLen + 1
}

func traceText(b []byte, p int) int {
	if len(b)-p <= traceLen {
		return 0
	}
	t := b[p : p+traceLen+1]
	if odd(word(t, 0))|odd(word(t, 8))|odd(word(t, 16))|odd(word(t, 24))|odd(word(t, traceLen-8)) != 0 || t[traceLen] != '"' {
		return 0
	}
	return p + traceLen + 1
}

const (
	timeLen  = len("2006-01-02T15:04:05.000Z")
	traceLen = len("69be64a7-0233-11e8-82e4-e5d37911193e")

	wFunction = 'f' | 'u'<<8 | 'n'<<16 | 'c'<<24 | 't'<<32 | 'i'<<40 | 'o'<<48 | 'n'<<56
	wExtensio = 'e' | 'x'<<8 | 't'<<16 | 'e'<<24 | 'n'<<32 | 's'<<40 | 'i'<<48 | 'o'<<56
	wPlatform = 'p' | 'l'<<8 | 'a'<<16 | 't'<<24 | 'f'<<32 | 'o'<<40 | 'r'<<48 | 'm'<<56
	wDotRepor = '.' | 'r'<<8 | 'e'<<16 | 'p'<<24 | 'o'<<32 | 'r'<<40 | 't'<<48 | '"'<<56
	wDotStart = '.' | 's'<<8 | 't'<<16 | 'a'<<24 | 'r'<<32 | 't'<<40 | '"'<<48
	wSuccess  = 's' | 'u'<<8 | 'c'<<16 | 'c'<<24 | 'e'<<32 | 's'<<40 | 's'<<48 | '"'<<56
)

// knownName takes the commonest names, spelled as documented: the offset behind the closing quote and
// the kind, or 0. 16 bytes from p on can be read.
func knownName(b []byte, p int) (end int, k Kind) {
	switch word(b, p) {
	case wFunction:
		if b[p+8] == '"' {
			return p + 9, Function
		}
	case wExtensio:
		if b[p+8] == 'n' && b[p+9] == '"' {
			return p + 10, Extension
		}
	case wPlatform:
		switch x := word(b, p+8); {
		case x == wDotRepor:
			return p + 16, Report
		case x&word6 == wDotStart:
			return p + 15, Start
		}
	}
	return 0, Unknown
}

// shortNumber takes a number of at most seven digits and one point without a look at each byte: the
// offset behind it, 0 when it is anything else. 8 bytes from p on can be read.
func shortNumber(b []byte, p int) int {
	x := word(b, p)
	point := zeroBytes(x ^ ones*'.')
	d := x ^ ones*'0' // digits become 0 to 9
	other := ((d + ones*0x76) | d) & tops &^ point
	n := bits.TrailingZeros64(other) >> 3 // 8 when all are digits
	if n == 0 || n == 8 {
		return 0
	}
	inside := uint64(1)<<(n*8) - 1
	point &= inside
	c := b[p+1]
	switch {
	case point&(point-1) != 0, point&0xff != 0, point>>(n*8-1) != 0: // two points, or one at an end
		return 0
	case b[p] == '0' && n > 1 && c != '.':
		return 0
	case !delimiter(b[p+n]):
		return 0
	}
	return p + n
}

// zeroBytes marks the bytes of x that are 0. A borrow marks a 1 above a 0 by mistake.
func zeroBytes(x uint64) uint64 { return (x - ones) &^ x & tops }

const (
	wDuration = 'd' | 'u'<<8 | 'r'<<16 | 'a'<<24 | 't'<<32 | 'i'<<40 | 'o'<<48 | 'n'<<56
	wBillingD = 'b' | 'i'<<8 | 'l'<<16 | 'l'<<24 | 'i'<<32 | 'n'<<40 | 'g'<<48 | 'D'<<56
	wMemoryUs = 'm' | 'e'<<8 | 'm'<<16 | 'o'<<24 | 'r'<<32 | 'y'<<40 | 'U'<<48 | 's'<<56
	wMemorySi = 'm' | 'e'<<8 | 'm'<<16 | 'o'<<24 | 'r'<<32 | 'y'<<40 | 'S'<<48 | 'i'<<56
	wPodName  = 'p' | 'o'<<8 | 'd'<<16 | 'N'<<24 | 'a'<<32 | 'm'<<40 | 'e'<<48 | '"'<<56
)

// metricsKey is the offset behind a key of metrics that is spelled as documented, 0 for any other. p is
// behind its opening quote, and 24 bytes are there to be read.
func metricsKey(b []byte, p int) int {
	switch word(b, p) {
	case wDuration:
		if string(b[p+8:p+11]) == `Ms"` {
			return p + 11
		}
	case wBillingD:
		if string(b[p+8:p+18]) == `urationMS"` {
			return p + 18
		}
	case wMemoryUs:
		if string(b[p+8:p+11]) == `ed"` {
			return p + 11
		}
	case wMemorySi:
		if string(b[p+8:p+11]) == `ze"` {
			return p + 11
		}
	case wPodName:
		return p + 8
	}
	return 0
}

// flatObject takes an object at p that holds neither objects nor arrays and is not at the very end of
// the body: the offset behind it, 0 when it is anything else or not strictly right.
func flatObject(b []byte, p int) int {
	const room = 32 // for the words that are read
	for p++; ; p++ {
		p = blanks(b, p)
		if p+room > len(b) || b[p] != '"' {
			return 0
		}
		q := metricsKey(b, p+1)
		if q == 0 {
			if q = strictString(b, p+1); q < 0 {
				return 0
			}
		}
		if p = blanks(b, q); p >= len(b) || b[p] != ':' {
			return 0
		}
		if p = blanks(b, p+1); p+room > len(b) {
			return 0
		}
		if b[p] == '"' {
			q = strictString(b, p+1)
		} else if q = shortNumber(b, p); q == 0 {
			q, _, _ = scalar(b, p)
		}
		if q < 0 {
			return 0
		}
		if p = blanks(b, q); p >= len(b) {
			return 0
		}
		if b[p] == '}' {
			return p + 1
		}
		if b[p] != ',' {
			return 0
		}
	}
}
