package suite

import (
	"embed"
	"fmt"
	"os"
	"strings"
)

//go:embed scenarios/*.yaml
var scenarios embed.FS

// All are the scenarios of the whole report, in its order.
func All() []string {
	return []string{"throughput", "curve", "overload", "outage", "floor", "profiles", "partitions", "crowd"}
}

// Others are bundled too, and not part of the whole report.
func Others() []string {
	return []string{"quick", "outage-disk", "memory", "spool", "steady", "headers"}
}

// LoadScenario reads a scenario: one of the bundled by its name, or a file whose name ends in .yaml.
func LoadScenario(name string) (*Scenario, error) {
	var text []byte
	var err error
	if strings.HasSuffix(name, ".yaml") {
		text, err = os.ReadFile(name)
	} else if text, err = scenarios.ReadFile("scenarios/" + name + ".yaml"); err != nil {
		err = fmt.Errorf("no scenario %q; there are %s, and files *.yaml", name, strings.Join(append(All(), Others()...), ", "))
	}
	if err != nil {
		return nil, err
	}
	return Parse(text)
}
