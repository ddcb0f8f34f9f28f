package decode

// Category is whom an event is about, by its name.
type Category uint8

// The categories of the telemetry protocol. Any other name, and none at all, is Uncategorized.
const (
	Uncategorized Category = iota
	FromPlatform           // `platform.` and anything, also a name that is no known [Kind]
	FromFunction
	FromExtension
)

// Category is that of the kind; Uncategorized for Unknown.
func (k Kind) Category() Category {
	switch k {
	case Unknown:
		return Uncategorized
	case Function:
		return FromFunction
	case Extension:
		return FromExtension
	}
	return FromPlatform
}

// Category goes by the event's name, by the rules of [Kind]. That of a bad region goes by the only name that can be read in
// it, as its key goes by the only traceId.
func (e *Event) Category() Category {
	kind, name := e.Kind, e.Name()
	if e.Reason != OK && kind == Unknown {
		name = onlyText(e.Raw(), "name", true)
		kind = kindOf(name)
	}
	if kind != Unknown {
		return kind.Category()
	}
	const platform = "platform."
	var buf [maxFold]byte
	if name = trim(plain(name, buf[:0])); len(name) > len(platform) && equalFold(name[:len(platform)], platform) {
		return FromPlatform
	}
	return Uncategorized
}
