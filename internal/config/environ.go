package config

import (
	"fmt"
	"slices"
	"strings"
)

// environment is the variables of a process, by name.
type environment map[string]string

// environmentOf reads os.Environ's form.
func environmentOf(pairs []string) environment {
	env := environment{}
	for _, pair := range pairs {
		if name, text, ok := strings.Cut(pair, "="); ok && name != "" {
			env[name] = text
		}
	}
	return env
}

// fromEnvironment reads the variables of settings that are not given. within names the variable that env was read from;
// "" is the environment itself.
func (c *Config) fromEnvironment(values []*value, env environment, within string) {
	for _, v := range values {
		text, ok := env[v.env]
		if !ok || v.given {
			continue
		}
		if err := v.read(text); err != nil {
			c.found = append(c.found, fmt.Sprintf("--%s: %v (from %s)", v.name, err, strings.TrimSuffix(v.env+" in "+within, " in ")))
			continue
		}
		v.given = true
		if c.sources[v.name] = v.env; within != "" {
			c.sources[v.name] = within
		}
	}
}

const envPrefix = "INGEST_"

// unknownVariables warns of variables that look like settings and are none: nothing reads them. Kubernetes makes
// some for a Service with the name ingest; they are left alone, as is the test kit's folder.
func unknownVariables(env environment) (warnings []string) {
	var c Config
	known := map[string]bool{"INGEST_CACHE": true}
	var names, odd []string
	for _, f := range c.fields() {
		known[f.env] = true
		names = append(names, strings.TrimPrefix(f.env, envPrefix))
	}
	for name := range env {
		short, ours := strings.CutPrefix(name, envPrefix)
		if !ours || known[name] || ofService(short) {
			continue
		}
		if !isName(short) {
			odd = []string{"a variable that begins with INGEST_ is no setting and is ignored; its name is not shown, because no setting has a name like it"}
			continue
		}
		guess := ""
		if best := nearest(strings.ToUpper(short), names); best != "" {
			guess = fmt.Sprintf(", did you mean %s?", envPrefix+best)
		}
		warnings = append(warnings, fmt.Sprintf("%s is no setting and is ignored%s", name, guess))
	}
	slices.Sort(warnings)
	return append(warnings, odd...)
}

// ofService reports whether Kubernetes makes such a variable, without the name of the Service at its front, for a
// Service: SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_HTTP, PORT, PORT_8080_TCP, PORT_8080_TCP_ADDR.
func ofService(name string) bool {
	name = "_" + name
	return strings.HasSuffix(name, "_SERVICE_HOST") || strings.Contains(name, "_SERVICE_PORT") ||
		strings.HasSuffix(name, "_PORT") || strings.Contains(name, "_TCP") || strings.Contains(name, "_UDP")
}
