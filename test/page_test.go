package test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"functiongraph-ingest/test/browser"
	"functiongraph-ingest/test/kafkatest"
	"functiongraph-ingest/test/proc"
)

var pictures = flag.Bool("pictures", false, "keep pictures of the status page in docs/page")

// kept are the looks of which -pictures keeps one.
var kept = map[string]string{"idle1180light": "idle.png", "busy1180dark": "load.png", "away1180light": "broker-away.png", "away360dark": "phone.png"}

// fewColors makes a PNG small: the page has few colors, and the edges of letters.
func fewColors(t *testing.T, in []byte) []byte {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(in))
	must(t, err)
	count := map[color.Color]int{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			count[img.At(x, y)]++
		}
	}
	colors := slices.Collect(maps.Keys(count))
	slices.SortFunc(colors, func(a, b color.Color) int { return count[b] - count[a] })
	small := image.NewPaletted(img.Bounds(), colors[:min(len(colors), 48)])
	draw.Draw(small, img.Bounds(), img, image.Point{}, draw.Src)
	var out bytes.Buffer
	must(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small))
	return out.Bytes()
}

// legible finds text whose contrast is below 4.5 (WCAG AA), and what is wider than its window: a page, or a table whose
// end is seen only by those who move it.
const legible = `(() => {
	const rgb = s => s.match(/[\d.]+/g).map(Number)
	const lum = c => c.slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((a, v, i) => a + v * [.2126, .7152, .0722][i], 0)
	const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c } return [255, 255, 255] }
	const bad = []
	for (const e of document.body.querySelectorAll("*")) {
		if (e.closest("script") || !e.offsetParent || ![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue
		const [a, b] = [lum(rgb(getComputedStyle(e).color)), lum(behind(e))].sort((x, y) => y - x), contrast = (a + .05) / (b + .05)
		if (contrast < 4.5) bad.push("contrast " + contrast.toFixed(2) + ": " + e.innerText.slice(0, 40))
	}
	const root = document.documentElement
	for (const e of document.querySelectorAll("main .scroll"))
		if (e.innerText && e.scrollWidth > e.clientWidth) bad.push("beside the window: " + e.innerText.slice(0, 60))
	if (root.scrollWidth > root.clientWidth) bad.push("the page is " + root.scrollWidth + " px wide in a window of " + root.clientWidth)
	return bad
})()`

// The status page in a browser: what it shows is what the process says, light and dark, on a screen and on a phone; texts
// from outside stay text; it asks nobody but the process.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	b := browser.Start(t)
	k := kafkatest.Start(t, kafkatest.WithSASL())
	must(t, k.SetPassword("fn", "hidden-secret"))
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	topic := "page"
	k.Topic(t, topic, 3, nil)
	p := proc.Start(t, proc.Serve(proc.Build(t), k.SASL(), topic, "--ack=accept", "--spool-dir", t.TempDir(), "--buffer-bytes=128KiB", "--batch-bytes=16KiB",
		"--request-timeout=1s", "--page-content", "--client-id="+evil, "--sasl-mechanism=SCRAM-SHA-256", "--sasl-user=fn", "--sasl-password=hidden-secret", "--codec=none"))
	base := "http://" + p.Admin
	b.View(1180, 900, "light")
	b.Open(base + "/")
	look := func(name string) {
		t.Helper()
		for _, width := range []int{1180, 360} {
			for _, scheme := range []string{"light", "dark"} {
				b.View(width, 900, scheme)
				var bad []string
				if b.Eval(legible, &bad); len(bad) > 0 {
					t.Errorf("%s, %d px, %s: %s", name, width, scheme, strings.Join(bad, "\n"))
				}
				if file, ok := kept[fmt.Sprint(name, width, scheme)]; ok && *pictures {
					must(t, os.MkdirAll("../docs/page", 0o755))
					must(t, os.WriteFile(filepath.Join("../docs/page", file), fewColors(t, b.Picture()), 0o644))
				}
			}
		}
	}
	shows := func(selector, want string) {
		t.Helper()
		awaitSeen(t, fmt.Sprintf("%q in %s, which has %q", want, selector, b.Text(selector)), func() bool { return strings.Contains(b.Text(selector), want) })
	}

	shows("#delivery", "idle")
	shows("#verdict", "0 = 0 ✔ every event is accounted for")
	shows("#parts", topic+" 2")
	shows("#who", ", up ")
	b.Eval(`document.querySelector("details").open = true`, nil)
	shows("#set", "--client-id")
	if text := b.Text("#set"); !strings.Contains(text, evil) || strings.Contains(text, "hidden-secret") || !strings.Contains(text, "********") {
		t.Errorf("settings: %s", text)
	}
	b.Eval(`document.querySelector("details").open = false`, nil)
	look("idle")

	// Load, and what is no event.
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		good := "[" + strings.Repeat(`{"name":"function","traceId":"a","logs":"`+strings.Repeat("x", 100)+`"},`, 50)
		bad := []string{evil, `{"name":"function","logs":cut}`, `{"name":"function","logs":"an escape: \q"}`, `{"name":"function","traceId":"b2",}`, `503`}
		for i := 0; ; i++ {
			body := good + bad[i%len(bad)] + "]"
			select {
			case <-stop:
				return
			default:
			}
			if res, err := client.Post(p.URL("/"), "application/json", strings.NewReader(body)); err == nil {
				res.Body.Close()
			}
		}
	}()
	end := func() { close(stop); <-done }
	defer func() {
		if end != nil {
			end()
		}
	}()
	shows("#dead", "onerror=")
	shows("#reasons", "bad_")
	for polls, start := 0, time.Now(); polls < 6; { // a line in the chart
		b.Eval("+document.body.dataset.polls", &polls)
		if time.Since(start) > time.Minute {
			t.Fatal("the page does not go on")
		}
	}
	awaitSeen(t, "a rate", func() bool { return b.Text("#rin") != "0" && b.Text("#rout") != "0" })
	awaitSeen(t, "a latency", func() bool { return !strings.Contains(strings.Split(b.Text("#latency"), "\n")[1], "–") })
	look("busy")

	must(t, k.Freeze(0))
	thawed := false
	defer func() {
		if !thawed {
			_ = k.Thaw(0)
		}
	}()
	awaitSeen(t, "trouble", func() bool {
		text := b.Text("#delivery")
		return strings.Contains(text, "spooling") && strings.Contains(text, "broker") && strings.Contains(text, "of them on disk")
	})
	if status := statusOf(t, p); !strings.Contains(b.Text("#delivery"), status.Delivery.Trouble.Remedy) {
		t.Errorf("no remedy %q in %q", status.Delivery.Trouble.Remedy, b.Text("#delivery"))
	}
	look("away")
	must(t, k.Thaw(0))
	thawed = true
	end()
	end = nil
	p.WaitLedger(t, time.Minute, "everything delivered", func(l *proc.Ledger) bool { return l.InFlight == 0 && l.Spooled == 0 && l.Admitted > 0 })
	shows("#delivery", "idle")
	shows("#verdict", "✔")
	var l proc.Ledger
	_, text, err := p.Get("/ledger")
	must(t, err)
	must(t, json.Unmarshal(text, &l))
	digits := strings.NewReplacer(",", "", "\n", " ").Replace(b.Text("#sum"))
	for _, want := range []string{fmt.Sprintf("%d admitted", l.Admitted), fmt.Sprintf("%d delivered", l.Delivered), fmt.Sprintf("%d dead letters", l.DeadLettered), "0 dropped"} {
		if !strings.Contains(digits, want) {
			t.Errorf("no %q in %q", want, digits)
		}
	}

	var title string
	var foreign int
	b.Eval("document.title", &title)
	b.Eval(`document.querySelectorAll("img, iframe, object").length + document.scripts.length - 1`, &foreign)
	if title == "owned" || foreign != 0 {
		t.Errorf("text became markup: title %q, %d elements", title, foreign)
	}
	for _, url := range b.Requests() {
		if !strings.HasPrefix(url, base+"/") && !strings.HasPrefix(url, "data:,") {
			t.Errorf("the page asked for %s", url)
		}
	}
	if problems := b.Problems(); len(problems) > 0 {
		t.Errorf("in the browser: %q", problems)
	}
	if code, _ := p.MustStop(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	awaitSeen(t, "that nothing answers", func() bool { return strings.Contains(b.Text("#lost"), "No answer") })
}

// Where the admin address asks for a token, the page asks its user for it.
func TestStatusPageAsksForAToken(t *testing.T) {
	b := browser.Start(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(tokens, []byte("sesame\n"), 0o600))
	p := proc.StartUnready(t, proc.Serve(proc.Build(t), "127.0.0.1:1", "t", "--admin-token-file="+tokens))
	awaitSeen(t, "an answer", func() bool { _, _, err := p.Get("/healthz"); return err == nil })
	b.Open("http://" + p.Admin + "/")
	awaitSeen(t, "the question", func() bool { return strings.Contains(b.Text("#token"), "asks for a token") })
	if text := b.Text("#delivery"); text != "" {
		t.Errorf("without a token it shows %q", text)
	}
	b.Eval(`document.querySelector("input").value = "sesame"; document.querySelector("button").click()`, nil)
	awaitSeen(t, "the state", func() bool {
		return b.Text("#delivery") != "" && b.Text("#token") == "" && strings.Contains(b.Text("main"), "--brokers")
	})
}
