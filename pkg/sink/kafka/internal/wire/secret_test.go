package wire

import (
	"strings"
	"testing"
)

// A broker that repeated password or token in its refusal brought them into the log.
func TestARefusalRepeatsNoSecret(t *testing.T) {
	for _, tt := range []struct{ sent, message, want string }{
		{"\x00fn\x00geheim", "fn: geheim is not the password, geheim", "fn: ******** is not the password, ********"},
		{"admin\x00fn\x00geheim", "geheim", "********"},
		{"\x00fn\x00", "fn is not known", "fn is not known"},
		{"n,,\x01auth=Bearer a.b.c\x01\x01", `{"status":"invalid_token","token":"a.b.c"}`, `{"status":"invalid_token","token":"********"}`},
		{"n,a=fn,\x01host=h\x01auth=Bearer a.b.c\x01\x01", "a.b.c", "********"},
		{"\x01", "refused", "refused"},
		{"n,,n=fn,r=nonce", "fn is not known", "fn is not known"},
		{"", "refused", "refused"},
	} {
		if got := withoutSecret(tt.message, []byte(tt.sent)); got != tt.want || strings.Contains(got, "geheim") {
			t.Errorf("%q after %q: %q, want %q", tt.message, tt.sent, got, tt.want)
		}
	}
}
