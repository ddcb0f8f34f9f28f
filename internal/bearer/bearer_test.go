package bearer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# old\nalpha-1\r\n\n  beta.2==  \n")
	tokens, err := New(path)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]bool{
		"Bearer alpha-1": true, "bearer alpha-1": true, "BEARER  beta.2== ": true,
		"": false, "Bearer": false, "Bearer ": false, "Bearer alpha-": false, "Bearer alpha-11": false, "Bearer ALPHA-1": false,
		"Basic alpha-1": false, "alpha-1": false, "Bearer # old": false, "Bearer alpha-1,beta.2==": false,
	} {
		if got := tokens.Allow([]byte(value)); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { tokens.Allow([]byte("Bearer alpha-1")) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	var none *Tokens
	if !none.Allow(nil) {
		t.Error("without tokens nothing is asked for")
	}

	write("gamma")
	if err := tokens.Load(); err != nil || tokens.Allow([]byte("Bearer alpha-1")) || !tokens.Allow([]byte("Bearer gamma")) {
		t.Errorf("rotation: %v", err)
	}
	for _, bad := range []string{"", "\n#x\n", "a b", "h\u00e4", "x\x00", strings.Repeat("x\n", maxTokens+1), strings.Repeat("x", maxFile+1)} {
		write(bad)
		if err := tokens.Load(); err == nil || !tokens.Allow([]byte("Bearer gamma")) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	secret := "a secret in place of a file"
	if _, err := New(secret); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
	if _, err := New(t.TempDir()); err == nil {
		t.Error("a folder was taken")
	}
}
