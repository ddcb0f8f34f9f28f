package config

import "reflect"

// applied are the settings that a running process takes over when it reads its settings again.
func applied() []string { return []string{"log-level"} }

// ReadPassword reads --sasl-password-file again.
func (c *Config) ReadPassword() (Secret, error) { return readSecret(c.SASLPasswordFile) }

// NeedRestart names the settings that differ in next and that a running process cannot take over. The content of
// files that settings name is not compared.
func (c *Config) NeedRestart(next *Config) []string {
	skip := map[string]bool{}
	for _, name := range applied() {
		skip[name] = true
	}
	if c.SASLPasswordFile != "" && c.SASLPasswordFile == next.SASLPasswordFile {
		skip["sasl-password"] = true // it came from the file
	}
	var names []string
	others := next.fields()
	for i, f := range c.fields() {
		if !skip[f.name] && !reflect.DeepEqual(f.value.Interface(), others[i].value.Interface()) {
			names = append(names, "--"+f.name)
		}
	}
	return names
}
