package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroup(t *testing.T) {
	for _, tt := range []struct {
		name   string
		files  map[string]string
		memory int64
		cpus   float64
	}{
		{"none", nil, 0, 0},
		{"version 2", map[string]string{"memory.max": "134217728\n", "cpu.max": "25000 100000\n"}, 128 << 20, 0.25},
		{"version 2 without limits", map[string]string{"memory.max": "max\n", "cpu.max": "max 100000\n"}, 0, 0},
		{"version 1", map[string]string{"memory/memory.limit_in_bytes": "268435456\n", "cpu/cpu.cfs_quota_us": "150000\n",
			"cpu/cpu.cfs_period_us": "100000\n"}, 256 << 20, 1.5},
		{"version 1 without limits", map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n",
			"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0, 0},
		{"nonsense", map[string]string{"memory.max": "a lot", "cpu.max": "1 0"}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := cgroupMemory(root); got != tt.memory {
				t.Errorf("memory %d, want %d", got, tt.memory)
			}
			if got := cgroupCPUs(root); got != tt.cpus {
				t.Errorf("CPUs %g, want %g", got, tt.cpus)
			}
		})
	}
}

func TestRuntimeMemory(t *testing.T) {
	for s, want := range map[string]int64{"128": 128 << 20, " 256 ": 256 << 20, "": 0, "0": 0, "-1": 0, "128MB": 0, "9223372036854775807": 0} {
		if got := runtimeMemory(s); got != want {
			t.Errorf("RUNTIME_MEMORY=%q: %d, want %d", s, got, want)
		}
	}
}

func TestReadHost(t *testing.T) {
	if h := ReadHost(); h.Name == "" || h.MemoryBytes < 0 || h.CPUs < 0 {
		t.Errorf("%+v", h)
	}
}
