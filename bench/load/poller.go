//go:build linux

package load

import (
	"errors"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll instance. File descriptors are added once, edge-triggered, for everything.
type poller struct {
	fd     int
	events [512]unix.EpollEvent
	coarse bool // the kernel has no epoll_pwait2: sleeps are in milliseconds
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &poller{fd: fd}, err
}

// add watches fd. Events carry index and generation, which tells those of a closed descriptor apart.
func (p *poller) add(fd, index int, generation int32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(index), Pad: generation,
	})
}

// wait sleeps for at most d. What it returns is valid until the next call.
func (p *poller) wait(d time.Duration) []unix.EpollEvent {
	n, err := p.sleep(d)
	if err != nil { // EINTR: as good as a timeout
		return nil
	}
	return p.events[:n]
}

func (p *poller) sleep(d time.Duration) (int, error) {
	if d == 0 {
		// Just a look: no need to tell the scheduler.
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
		return int(n), orNil(errno)
	}
	if p.coarse {
		return unix.EpollWait(p.fd, p.events[:], int((d+time.Millisecond-1)/time.Millisecond))
	}
	t := [2]int64{int64(d / time.Second), int64(d % time.Second)} // struct __kernel_timespec, on 32 bits too
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&t)), 0, 0)
	if errno == unix.ENOSYS || errno == unix.EPERM { // an old kernel, or a sandbox that does not know it
		p.coarse = true
		return 0, errno
	}
	return int(n), orNil(errno)
}

func (p *poller) close() { _ = unix.Close(p.fd) }

func orNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

var errAgain = errors.New("not now")

// readSome and writeSome are system calls that never block, so the scheduler is not told of them.

func readSome(fd int, b []byte) (int, error) {
	return rawIO(unix.SYS_READ, fd, b)
}

func writeSome(fd int, b []byte) (int, error) {
	return rawIO(unix.SYS_WRITE, fd, b)
}

func rawIO(trap uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, errAgain
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
