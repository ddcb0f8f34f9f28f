package fgsim

import "sync"

// Violation is something that an extension does and the reference forbids, or that ends badly.
type Violation struct {
	Code  string `json:"code"` // one of the constants
	Text  string `json:"text"` // of the first one: what was found and what is wanted
	Count int    `json:"count"`
}

// The codes.
const (
	BadPackage = "package" // the zip breaks a documented limit

	BadPath             = "path"                // the extension API has no such path
	BadMethod           = "method"              // it is not POST
	BadContentType      = "content-type"        // registration without Content-Type: application/json
	BadExtensionName    = "extension-name"      // FunctionGraph-Extension-Name is not the script's full file name
	BadExtensionAddress = "extension-address"   // FunctionGraph-Extension-Address is not 127.0.0.1:port
	BadPort             = "port-range"          // the port is not one of 8081 to 8090
	NotListening        = "not-listening"       // nothing listens at the address that is announced
	RegisteredTwice     = "registered-twice"    // one registration was enough
	NotRegistered       = "not-registered"      // subscription before registration
	BadSubscription     = "subscription"        // a field is missing or wrong
	SecondSubscriber    = "second-subscriber"   // there is one already
	OtherPort           = "other-port"          // telemetry to another port than the registered one
	NeverRegistered     = "never-registered"    // not within the time for it
	NeverSubscribed     = "never-subscribed"    // not within the time for it
	NotAcknowledged     = "invocation-not-200"  // an invocation event was not answered 200
	NoAnswer            = "telemetry-no-answer" // a telemetry post had no HTTP answer at all
	Died                = "died"                // the extension ended before it was told to
	Killed              = "killed"              // it did not end within the grace after SIGTERM
	OutOfMemory         = "out-of-memory"       // the kernel killed it at the memory limit
)

// violations collects, one entry a code. It is safe for concurrent use.
type violations struct {
	mu   sync.Mutex
	list []Violation
}

func (v *violations) note(code, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.list {
		if v.list[i].Code == code {
			v.list[i].Count++
			return
		}
	}
	v.list = append(v.list, Violation{Code: code, Text: text, Count: 1})
}

func (v *violations) all() []Violation {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]Violation{}, v.list...)
}
