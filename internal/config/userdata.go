package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// userDataVariable holds a function's own environment as one JSON object where the platform passes it on in this form
// only: FunctionGraph's user guide documents Context.getUserData and this variable, and plain variables for custom
// runtimes.
const userDataVariable = "RUNTIME_USERDATA"

// userData reads the variables in text, which is a JSON object. Numbers and truth values are taken as they are written.
// What cannot be read is only a warning, because the settings may come from elsewhere; no warning repeats a value,
// because secrets are among them.
func userData(text string) (env environment, warnings []string) {
	if text == "" {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return nil, []string{userDataVariable + " is no JSON object: no setting is taken from it"}
	}
	env = environment{}
	for name, raw := range object {
		var s string
		switch raw = bytes.TrimSpace(raw); {
		case raw[0] == '"':
			if err := json.Unmarshal(raw, &s); err != nil {
				continue // the object would not have been read
			}
		case raw[0] != '{' && raw[0] != '[' && string(raw) != "null":
			s = string(raw)
		default:
			if short, ours := strings.CutPrefix(name, envPrefix); ours && isName(short) {
				warnings = append(warnings, fmt.Sprintf("%s in %s is no string and is ignored", name, userDataVariable))
			}
			continue
		}
		env[name] = s
	}
	slices.Sort(warnings)
	return env, append(warnings, unknownVariables(env)...)
}
