package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// dropText unmaps the resident pages of the executable's code and constants. They are clean pages of a
// file that cannot be written (a private mapping without PROT_WRITE), so the kernel reads them again when
// they are touched; the call fails at worst.
func dropText() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return
	}
	defer maps.Close()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		var from, to uintptr
		var perms string
		// 00400000-00bf4000 r-xp 00000000 fd:00 123 /path
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &perms); n == 3 &&
			len(perms) == 4 && perms[1] == '-' && perms[3] == 'p' && strings.HasSuffix(lines.Text(), " "+exe) {
			_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}
