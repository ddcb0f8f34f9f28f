package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// The addresses that the platform sends to: one port for each extension of a function.
const (
	extensionHost      = "127.0.0.1"
	extensionFirstPort = 8081
	extensionLastPort  = 8090
)

// RandomPath is the value of --telemetry-path that stands for a path made anew at every start.
const RandomPath = "random"

// telemetryTypes are the words of the platform's subscription.
var telemetryTypes = []string{"platform", "function", "extension"}

// checkExtension looks at what the platform's protocol demands of an extension.
func (c *Config) checkExtension(p *Problems) {
	if c.command != Extension {
		return
	}
	for _, addr := range c.ListenAddresses() {
		host, port, _ := net.SplitHostPort(addr)
		if n, _ := strconv.Atoi(port); host != extensionHost || n < extensionFirstPort || n > extensionLastPort {
			p.add("listen", c.Listen, "the platform takes only ports of 127.0.0.1:8081-8090")
			break
		}
	}
	if n := c.ExtensionName; !strings.HasPrefix(n, "extension") || !strings.HasSuffix(n, ".sh") || strings.ContainsAny(n, "/ \r\n") {
		p.add("extension-name", n, "must be the file name of the start script, for example extensionIngest.sh")
	}
	if len(c.TelemetryTypes) == 0 {
		p.add("telemetry-types", "", "must name at least one of "+strings.Join(telemetryTypes, ", "))
	}
	for _, t := range c.TelemetryTypes {
		if !slices.Contains(telemetryTypes, t) {
			p.add("telemetry-types", t, "must be of "+strings.Join(telemetryTypes, ", "))
		}
	}
	if !isPath(c.TelemetryPath) && c.TelemetryPath != RandomPath {
		p.add("telemetry-path", c.TelemetryPath, "must begin with / and hold letters, digits, '-', '_', '.' or '/' only, or be random")
	}
	if c.TelemetryPath == "/extension/invoke" || c.TelemetryPath == "/extension/register" {
		p.add("telemetry-path", c.TelemetryPath, "is where invocation events go; choose another")
	}
}

// isPath accepts paths that no HTTP implementation writes in another way.
func isPath(s string) bool {
	if !strings.HasPrefix(s, "/") || strings.Contains(s, "//") || strings.Contains(s, "/.") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("/-_.", rune(c)) {
			return false
		}
	}
	return true
}
