package config

import (
	"strings"
	"testing"
)

func budgetConfig() *Config {
	return &Config{MemoryLimit: 64 * MiB, MaxBody: 4 * MiB, MaxHeaderBytes: 8 * KiB, BatchBytes: 256 * KiB, BufferBytes: 16 * MiB}
}

func TestBudget(t *testing.T) {
	tests := []struct {
		name                              string
		change                            func(*Config)
		limit, gate, buffers, conns, body Bytes
		maxConns                          int
		warning                           string
	}{
		{"32MiB", nil, 32 * MiB, 6 * MiB, 8 * MiB, 4 * MiB, 4 * MiB, 246, ""},
		{"48MiB", nil, 48 * MiB, 16 * MiB, 12 * MiB, 6 * MiB, 4 * MiB, 369, ""},
		{"64MiB", nil, 64 * MiB, 13696 * KiB, 16 * MiB, 17024 * KiB, 4 * MiB, 1024, ""},
		{"96MiB", nil, 96 * MiB, 44416 * KiB, 16 * MiB, 17024 * KiB, 4 * MiB, 1024, ""},
		{"256MiB", nil, 256 * MiB, 178 * MiB, 16 * MiB, 32 * MiB, 4 * MiB, 1971, ""},
		{"small bodies need no gate: the buffers stay", func(c *Config) { c.MaxBody = 256 * KiB },
			48 * MiB, 12 * MiB, 16 * MiB, 6 * MiB, 256 * KiB, 369, ""},
		{"buffers give way only as far as needed", func(c *Config) { c.MaxBody = 3 * MiB },
			56 * MiB, 19 * MiB, 16 * MiB, 7 * MiB, 3 * MiB, 431, ""},
		{"own buffers", func(c *Config) { c.BufferBytes = 64 * MiB },
			256 * MiB, 130 * MiB, 64 * MiB, 32 * MiB, 4 * MiB, 1971, ""},
		{"own buffers give way", func(c *Config) { c.BufferBytes = 32 * MiB },
			64 * MiB, 13696 * KiB, 16 * MiB, 17024 * KiB, 4 * MiB, 1024, ""},
		{"big batches hold their ground", func(c *Config) { c.BatchBytes = 4 * MiB },
			48 * MiB, 12 * MiB, 16 * MiB, 6 * MiB, 4 * MiB, 369, ""},
		{"own connections", func(c *Config) { c.MaxConns = 1024 },
			96 * MiB, 44416 * KiB, 16 * MiB, 17024 * KiB, 4 * MiB, 1024, ""},
		{"body as large as three quarters of the gate hold", func(c *Config) { c.MaxBody = 8 * MiB },
			64 * MiB, 13696 * KiB, 16 * MiB, 17024 * KiB, 8 * MiB, 1024, ""},
		{"body whose buffer does not fit", func(c *Config) { c.MaxBody = 8*MiB + 1 },
			64 * MiB, 13696 * KiB, 16 * MiB, 17024 * KiB, 8 * MiB, 1024,
			"--max-body=8388609B is lowered to 8MiB, larger bodies get 413: --memory-limit=64MiB leaves 13696KiB for bodies, "},
		{"body far too large", func(c *Config) { c.MaxBody = 1 << 60 },
			32 * MiB, 6 * MiB, 8 * MiB, 4 * MiB, 4 * MiB, 246,
			"--max-body=1073741824GiB is lowered to 4MiB, larger bodies get 413: --memory-limit=32MiB leaves 6MiB for bodies, "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := budgetConfig()
			c.MemoryLimit = tt.limit
			if tt.change != nil {
				tt.change(c)
			}
			b, err := c.Budget()
			if err != nil {
				t.Fatal(err)
			}
			if b.Gate != tt.gate || b.Buffers != tt.buffers || b.Conns != tt.conns || b.MaxBody != tt.body || b.MaxConns != tt.maxConns {
				t.Errorf("got %s", b)
			}
			if sum := b.Gate + b.Buffers + b.Conns + b.Runtime; sum != tt.limit || b.Limit != tt.limit {
				t.Errorf("the parts are %s of %s", sum, tt.limit)
			}
			if b.GoMemLimit != tt.limit-outsideHeap {
				t.Errorf("GOMEMLIMIT %s", b.GoMemLimit)
			}
			if got := strings.Join(b.Warnings, "|"); !strings.HasPrefix(got, tt.warning) || tt.warning == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

// The table in the comment of Budget and the promises beside it, for every limit that is allowed.
func TestBudgetPromises(t *testing.T) {
	for mib := Bytes(1); mib <= 1024; mib++ {
		c := budgetConfig()
		c.MemoryLimit = mib * MiB
		b, err := c.Budget()
		if err != nil {
			if mib >= 26 {
				t.Errorf("%d MiB: %v", mib, err)
			}
			continue
		}
		if mib < 26 {
			t.Errorf("%d MiB is taken: %s", mib, b)
		}
		if b.Gate+b.Buffers+b.Conns+b.Runtime != c.MemoryLimit {
			t.Errorf("%d MiB: the parts do not add up: %s", mib, b)
		}
		if b.MaxBody > b.Gate || b.Gate < leastGate || b.Buffers < batchesInBuffers*c.BatchBytes || b.Buffers > c.BufferBytes {
			t.Errorf("%d MiB: %s", mib, b)
		}
		// What everything that may be lent leaves of the heap, beside the constant part: see garbageShare.
		if garbage := b.GoMemLimit - b.Gate - b.Buffers - b.Conns - insideHeap; mib >= 64 && garbage < c.MemoryLimit/garbageShare {
			t.Errorf("%d MiB: %s left for garbage: %s", mib, garbage, b)
		}
		if mib >= 48 && b.Gate < 2*c.MaxBody {
			t.Errorf("%d MiB: the gate holds less than two bodies: %s", mib, b)
		}
	}
}

// The file descriptors of the process bound the connections, with one line, and the memory of those that cannot be
// goes to bodies.
func TestBudgetKnowsTheDescriptors(t *testing.T) {
	for _, c := range []struct{ wanted, descriptors, want int }{
		{0, 0, 1024}, {0, 20_000, 1024}, {0, 1024, 849}, {1000, 1024, 849}, {500, 1024, 500}, {0, 70, 1}, {0, 1, 1},
	} {
		cfg := budgetConfig()
		cfg.MaxConns, cfg.descriptors, cfg.Brokers = c.wanted, c.descriptors, []string{"a:1"}
		b, err := cfg.Budget()
		if err != nil {
			t.Fatal(err)
		}
		lowered := c.want < c.wanted || c.wanted == 0 && c.want < 1024
		if b.MaxConns != c.want || lowered != (len(b.Warnings) == 1) || lowered && !strings.Contains(b.Warnings[0], "--max-conns=") {
			t.Errorf("%+v: %d, %q", c, b.MaxConns, b.Warnings)
		}
		if b.Gate+b.Buffers+b.Conns+b.Runtime != cfg.MemoryLimit || b.Conns != Bytes(b.MaxConns)*cfg.connBytes() && b.MaxConns != 1024 {
			t.Errorf("%+v: %s", c, b)
		}
	}
}

func TestBudgetTooSmall(t *testing.T) {
	c := budgetConfig()
	c.MemoryLimit = 20 * MiB
	if b, err := c.Budget(); err == nil {
		t.Errorf("got %s", b)
	}
}

// With TLS connections are fewer, and the sum is the limit all the same.
func TestBudgetWithTLS(t *testing.T) {
	for limit, conns := range map[Bytes]int{32 * MiB: 84, 64 * MiB: 336, 512 * MiB: 2695} {
		c := defaultsOf(t, Serve, Host{})
		c.MemoryLimit, c.ListenTLSCert = limit, []string{"cert.pem"}
		b, err := c.Budget()
		if err != nil {
			t.Fatal(err)
		}
		if b.MaxConns != conns || b.Gate+b.Buffers+b.Spool+b.Conns+b.Runtime != limit {
			t.Errorf("%s: %+v", limit, b)
		}
	}
}

// A spool in memory is a part of the limit, or it is refused; an extension then goes without it.
func TestSpoolInMemory(t *testing.T) {
	disk := func(c *Config) { c.Ack = AckDisk }
	allowed := func(c *Config) { c.Ack, c.SpoolMemory = AckDisk, true }
	small := func(c *Config) { c.MemoryLimit = 32 * MiB }
	extension := func(change func(*Config)) func(*Config) {
		return func(c *Config) { change(c); c.command = Extension }
	}
	for _, tt := range []struct {
		name    string
		change  func(*Config)
		data    Bytes  // that the frames get
		refused string // what the error says, of an extension the warning
	}{
		{"by default", func(*Config) {}, 16 * MiB, ""},
		{"of a large limit", func(c *Config) { c.MemoryLimit = 256 * MiB }, 64 * MiB, ""},
		{"as asked for", func(c *Config) { c.SpoolMax = 20 * MiB }, 20 * MiB, ""},
		{"never less than an event needs", func(c *Config) { c.MaxBody = 8 * MiB; c.MemoryLimit = 70 * MiB }, 19 * MiB, ""},
		{"ack=disk", disk, 0, "would be lost with the machine"},
		{"ack=disk, wanted", allowed, 16 * MiB, ""},
		{"too large", func(c *Config) { c.SpoolMax = GiB }, 0, "its 1GiB (--spool-max) count against --memory-limit=64MiB"},
		{"no room", small, 0, "count against --memory-limit=32MiB"},
		{"replay", func(c *Config) { c.replays, c.SpoolMax = true, GiB }, 0, ""},
		{"off", func(c *Config) { c.SpoolDir, c.Ack = Off, AckKafka }, 0, ""},
		{"extension", extension(func(*Config) {}), 16 * MiB, ""},
		{"extension, raised", extension(func(c *Config) { c.SpoolMax = MiB }), 10 * MiB, ""},
		{"extension, no room", extension(small), 0, "count against --memory-limit=32MiB"},
		{"extension, ack=disk", extension(disk), 0, "would be lost with the machine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := budgetConfig()
			c.Sink, c.SpoolDir, c.Ack, c.command = SinkKafka, "/dev/shm/spool", AckAccept, Serve
			tt.change(c)
			err := c.SpoolIn("tmpfs")
			said := strings.Join(c.Warnings(), "|")
			if err != nil {
				said += err.Error()
			}
			if (said != "") != (tt.refused != "") || !strings.Contains(said, tt.refused) || (err != nil) != (tt.refused != "" && c.command == Serve) {
				t.Fatalf("%q, %v", said, err)
			}
			if err != nil {
				return
			}
			b, err := c.Budget()
			if err != nil || b.SpoolData != tt.data || c.Spools() != (tt.refused == "" && c.SpoolDir != Off) {
				t.Errorf("%v, %v, spools %t", b, err, c.Spools())
			}
			if sum := b.Gate + b.Buffers + b.Conns + b.Runtime + b.Spool + b.SpoolData; sum != b.Limit || b.GoMemLimit != b.Limit-b.SpoolData-outsideHeap {
				t.Errorf("%v: the parts are %v", b, sum)
			}
			if warns := strings.Contains(strings.Join(b.Warnings, "|"), "/dev/shm/spool is in memory (tmpfs)"); warns != (tt.data > 0) {
				t.Errorf("warnings %q", b.Warnings)
			}
		})
	}
	c := budgetConfig()
	c.Sink, c.SpoolDir, c.Ack = SinkKafka, "/spool", AckDisk
	if err := c.SpoolIn(""); err != nil || !c.Spools() {
		t.Error(err)
	}
}

// What the platform may send fits: an extension beside the smallest function takes bodies of the default size, with its
// spool too, because the size of a delivery is not documented.
func TestAnExtensionTakesBodiesOfTheDefaultSize(t *testing.T) {
	for _, instance := range []int64{128 << 20, 256 << 20, 512 << 20, 0} {
		c := defaultsOf(t, Extension, Host{MemoryBytes: instance})
		b, err := c.Budget()
		if err != nil {
			t.Fatal(err)
		}
		if !c.Spools() || b.MaxBody != c.MaxBody || len(b.Warnings) > 0 || b.Gate+b.Buffers+b.Spool+b.Conns+b.Runtime != b.Limit {
			t.Errorf("%d MiB: %+v, %q", instance>>20, b, b.Warnings)
		}
	}
}

// A small --max-body leaves memory to batches, but never less to bodies than they need.
func TestSmallBodiesLeaveRoomForTheGate(t *testing.T) {
	for _, limit := range []Bytes{30 * MiB, 32 * MiB, 48 * MiB, 64 * MiB} {
		for _, dir := range []string{Off, "/var/spool"} {
			c := defaultsOf(t, Serve, Host{})
			c.MemoryLimit, c.MaxBody, c.SpoolDir = limit, 64*KiB, dir
			if b, err := c.Budget(); err != nil || b.Gate < leastGate {
				t.Errorf("%s, spool %s: %+v, %v", limit, dir, b, err)
			}
		}
	}
}
