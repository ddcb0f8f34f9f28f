package simulator

import "fmt"

const timeLayout = "2006-01-02T15:04:05.000Z"

// appendEvent appends e as JSON, with its slip. The id stands near the front, so that a cut leaves it.
func (g *Generator) appendEvent(dst []byte, e *Event) []byte {
	name, blank := e.Kind.String(), ""
	switch e.Slip {
	case BlankInName:
		name = " " + name + " "
	case CommaInName:
		name += ","
	case LowerRuntimeDone:
		name = "platform.runtimeDone"
	case BlankInTime:
		blank = " "
	}
	dst = fmt.Appendf(dst, `{"name":"%s","eventId":"%s","startTime":"%s%s"`, name, e.ID, g.now.Format(timeLayout), blank)
	if e.Key != "" {
		dst = fmt.Appendf(dst, `,"traceId":"%s"`, e.Key)
	}
	switch {
	case e.Kind.report():
		dst = g.appendReport(dst, e, blank)
	case e.Kind.logs():
		dst = append(dst, `,"logs":"`...)
		dst = g.appendLog(dst, e.Kind)
		dst = append(dst, '"')
	case !e.Kind.start():
		dst = g.appendStatus(dst, e.Slip)
	}
	return append(dst, '}')
}

func (g *Generator) appendStatus(dst []byte, s Slip) []byte {
	status := "success"
	if g.rng.IntN(20) == 0 {
		status = "failure"
	}
	if s == BlankInStatus {
		status = " " + status + " "
	}
	return fmt.Appendf(dst, `,"status":"%s"`, status)
}

func (g *Generator) appendReport(dst []byte, e *Event, blank string) []byte {
	field, memorySize := "metrics", "memorySize"
	switch e.Slip {
	case ReportMetrics:
		field = "reportMetrics"
	case BlankInKey:
		memorySize = " memorySize "
	}
	ms := g.rng.ExpFloat64() * 80
	dst = fmt.Appendf(dst, `,"endTime":"%s%s"`, g.now.Format(timeLayout), blank)
	dst = g.appendStatus(dst, e.Slip)
	pod := `"` + g.pod + `"`
	if e.Broken == UnquotedPodName {
		pod = g.pod + "," // as printed
	}
	return fmt.Appendf(dst, `,"%s":{"durationMs":%.2f,"billingDurationMS":%d,"memoryUsed":%.1f,"%s":128,"podName":%s}`,
		field, ms, int(ms)+1, 20+g.rng.Float64()*100, memorySize, pod)
}

// appendLog appends what a function or an extension printed, escaped. Some of it is hard on parsers: JSON
// inside of a string, line breaks, letters beyond ASCII.
func (g *Generator) appendLog(dst []byte, k Kind) []byte {
	if k == Extension {
		return fmt.Appendf(dst, "[Extension] INFO subscribed to telemetry, buffer %d KiB", g.rng.IntN(1024))
	}
	n, ms := g.rng.IntN(100_000), g.rng.IntN(900)
	dst = append(dst, "[Function] "...)
	switch g.rng.IntN(8) {
	case 0:
		return fmt.Appendf(dst, `WARN upstream \"payments\" answered 503 after %d ms, attempt %d of 5, backing off`, ms, 1+n%5)
	case 1:
		return fmt.Appendf(dst, `INFO order={\"id\":%d,\"items\":[{\"sku\":\"A-%d\",\"n\":%d}],\"paid\":true} took %d ms`, n, n%977, 1+n%9, ms)
	case 2:
		return fmt.Appendf(dst, `INFO café order %d für 山田太郎 accepted, paid ¥%d \u2713`, n, 100+ms)
	case 3:
		return fmt.Appendf(dst, `ERROR index out of range [%d] with length %d\n\tmain.handler(0xc000%06x)\n\t\t/opt/function/code/main.go:%d`, ms, ms, n, 10+n%300)
	case 4:
		return fmt.Appendf(dst, `DEBUG cache miss key=user:%d:cart`, n)
	default:
		return fmt.Appendf(dst, `INFO request=%016x GET /orders/%d status=200 bytes=%d in %d ms`, g.rng.Uint64(), n, 300+n%4000, ms)
	}
}
