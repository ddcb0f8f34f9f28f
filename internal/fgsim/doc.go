// Package fgsim plays FunctionGraph for one extension: it starts the extension as the platform does, serves
// the extension API with the strictness of the reference, sends invocation events and telemetry, freezes,
// thaws and ends it, and reports what happened. It knows nothing of what the extension does with the
// telemetry; a [Recorder] hears of every event that was posted, and an [Account] judges with it what
// arrived at the other end.
//
// What the reference says is played as it says; what it leaves open is a setting of the [Scenario].
//
// The package needs Linux: process groups, /proc, and cgroups where there are limits.
package fgsim
