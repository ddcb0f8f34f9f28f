package simulator

// Slip is a way in which the reference's samples differ from its own field lists. An event with a slip is
// valid JSON and as good as any other.
type Slip uint8

// The slips.
const (
	NoSlip           Slip = iota
	BlankInName           // " platform.report "
	BlankInTime           // "2023-02-01T00:03:50.000Z "
	BlankInStatus         // " success "
	BlankInKey            // " memorySize "
	ReportMetrics         // the report's metrics are called reportMetrics
	LowerRuntimeDone      // platform.runtimeDone, like its siblings
	CommaInName           // "platform.initRuntimeDone,"
	numSlips
)

// slipsOf is what can be wrong with a kind.
func slipsOf(k Kind) []Slip {
	switch {
	case k.report():
		return []Slip{BlankInName, BlankInTime, BlankInStatus, BlankInKey, ReportMetrics}
	case k == RuntimeDone:
		return []Slip{BlankInName, BlankInTime, BlankInStatus, LowerRuntimeDone}
	case k == InitRuntimeDone:
		return []Slip{BlankInName, BlankInTime, BlankInStatus, CommaInName}
	case k == RestoreRuntimeDone:
		return []Slip{BlankInName, BlankInTime, BlankInStatus}
	}
	return []Slip{BlankInName, BlankInTime}
}
