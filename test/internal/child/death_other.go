//go:build !linux

package child

import "os/exec"

// dieWithParent: only Linux has a parent-death signal; elsewhere a killed test leaves its children.
func dieWithParent(*exec.Cmd) {}
