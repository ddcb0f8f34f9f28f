package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// noFollow: no symbolic link is followed, no fifo is waited for.
const noFollow = unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC

// isSpecial reports whether an open failed because there is no plain file.
func isSpecial(err error) bool {
	return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENXIO)
}

// ownDir is the file system of an open spool directory. Every name is resolved from the directory's descriptor, and no
// symbolic link is followed, so that it does not matter what others do to the path meanwhile. It implements FS.
type ownDir struct {
	OS
	dir    string
	root   *os.File
	memory bool // there is no disk below, so a write is as durable as it gets, and no call blocks
	unlike bool // the path and the descriptor give it two numbers: whether it was replaced cannot be told
}

// openDir makes a spool directory if need be, and opens it if it is ours. dir is clean.
func openDir(dir string, log *slog.Logger) (*ownDir, error) {
	if err := checkLinks(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &ownDir{dir: dir, root: root, memory: inMemory(int(root.Fd()))}
	if err := d.checkOwners(log); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	same, _ := d.atPath()
	d.unlike = !same
	return d, nil
}

// openRoot opens the directory. A link in its place is followed only if it is ours: one of others could have been
// changed since it was looked at.
func openRoot(dir string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	var fd int
	open := func(flags int) error {
		return again(func() (err error) { fd, err = unix.Open(dir, flags, 0); return err })
	}
	err := open(flags | unix.O_NOFOLLOW)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		if err := checkLinks(dir); err != nil {
			return nil, err
		}
		err = open(flags)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// checkLinks refuses a path that leads through a symbolic link of others.
func checkLinks(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	for at := abs; at != "/"; at = filepath.Dir(at) {
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			continue // it is made, or opening it says what is wrong
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK && !ours(&st) {
			return foreign(at, "is a symbolic link", &st)
		}
	}
	return nil
}

// ours reports whether a file belongs to this process's user or to root.
func ours(st *unix.Stat_t) bool { return st.Uid == 0 || int(st.Uid) == unix.Geteuid() }

func foreign(path, what string, st *unix.Stat_t) error {
	return fmt.Errorf("%w: %s %s of uid %d, and this process runs as uid %d; nothing was touched", ErrForeign, path, what, st.Uid, unix.Geteuid())
}

// checkOwners refuses a directory with files of others, and closes our own to others.
func (d *ownDir) checkOwners(log *slog.Logger) error {
	fd := int(d.root.Fd())
	var st unix.Stat_t
	if err := again(func() error { return unix.Fstat(fd, &st) }); err != nil {
		return &os.PathError{Op: "fstat", Path: d.dir, Err: err}
	}
	if !ours(&st) {
		return foreign(d.dir, "is a directory", &st)
	}
	names, err := d.names("")
	if err != nil {
		return err
	}
	for _, name := range names {
		var f unix.Stat_t
		if !isOwnName(name) || again(func() error { return unix.Fstatat(fd, name, &f, unix.AT_SYMLINK_NOFOLLOW) }) != nil {
			continue // nothing that is opened; or gone
		}
		if path := filepath.Join(d.dir, name); !ours(&f) {
			return foreign(path, "is "+special(modeOf(&f), "a file"), &f)
		}
	}
	if int(st.Uid) != unix.Geteuid() || st.Mode&0o077 == 0 {
		return nil
	}
	if err := occupied(d.dir, names); err != nil {
		return err
	}
	err = unix.Fchmod(fd, 0o700)
	log.Info("the spool directory was open to others; their access was taken away", "dir", d.dir, "mode", fmt.Sprintf("%#o", st.Mode&0o777), "error", err)
	return nil
}

// Occupied is an ErrOccupied if a start would refuse the directory dir for what is in it; nil: it would not, or cannot
// read it. Nothing is changed.
func Occupied(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || int(st.Uid) != unix.Geteuid() || st.Mode&0o077 == 0 {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	slices.Sort(names)
	return occupied(dir, names)
}

// occupied refuses a directory with these names in it that has no spool and something else: /tmp and / would be closed
// to everybody. A lock alone is no spool: other programs have files of that name.
func occupied(dir string, names []string) error {
	other := ""
	for _, name := range names {
		switch {
		case name == cursorName, strings.HasSuffix(name, segmentSuffix):
			return nil
		case other == "" && !isOwnName(name) && name != "lost+found": // that is part of a new file system
			other = name
		}
	}
	if other == "" {
		return nil
	}
	return fmt.Errorf("%w: %s holds %q, which is no part of a spool, and other users may enter it; nothing was touched", ErrOccupied, dir, other)
}

// isOwnName reports whether the spool opens an entry of that name.
func isOwnName(name string) bool {
	return slices.Contains([]string{lockName, cursorName, quarantineName, asideName}, name) ||
		strings.HasSuffix(name, segmentSuffix) || strings.HasSuffix(name, segmentSuffix+freeSuffix)
}

func modeOf(st *unix.Stat_t) fs.FileMode {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return fs.ModeSocket
	}
	return fs.ModeDevice
}

// again makes a system call until no signal interrupts it. Network file systems, and those in user space, let that happen
// to any call, and the runtime sends its threads signals all the time.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openFolder opens a folder for its entries.
func openFolder(at int, folder string) (fd int, err error) {
	err = again(func() (err error) {
		fd, err = unix.Openat(at, folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// at calls do with the descriptor of the folder that name lies in and the last element of name.
func (d *ownDir) at(op, name string, do func(fd int, base string) error) error {
	rel, err := filepath.Rel(d.dir, name)
	if err != nil {
		return err
	}
	fd, base := int(d.root.Fd()), rel
	if folder, file, found := strings.Cut(rel, "/"); found {
		base = file
		if fd, err = openFolder(fd, folder); err != nil {
			return &os.PathError{Op: op, Path: name, Err: err}
		}
		defer unix.Close(fd)
	}
	if err := again(func() error { return do(fd, base) }); err != nil {
		return &os.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// MkdirAll implements FS.
func (d *ownDir) MkdirAll(dir string) error {
	return d.at("mkdirat", dir, func(fd int, base string) error {
		if err := unix.Mkdirat(fd, base, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		return nil
	})
}

// Create implements FS.
func (d *ownDir) Create(name string) (File, error) {
	return d.open(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

// Open implements FS.
func (d *ownDir) Open(name string, readOnly bool) (File, error) {
	if readOnly {
		return d.open(name, unix.O_RDONLY)
	}
	return d.open(name, unix.O_RDWR)
}

func (d *ownDir) open(name string, flags int) (File, error) {
	f, err := d.openFile(name, flags)
	if err != nil {
		return nil, err
	}
	return newFile(f, d.memory)
}

func (d *ownDir) openFile(name string, flags int) (f *os.File, err error) {
	err = d.at("openat", name, func(fd int, base string) error {
		n, err := unix.Openat(fd, base, flags|noFollow, 0o600)
		if err == nil {
			f = os.NewFile(uintptr(n), name)
		}
		return err
	})
	if isSpecial(err) {
		return nil, fmt.Errorf("%w: %w", errSpecial, err)
	}
	return f, err
}

// names lists the entries of the directory or a folder in it; none when there is no such folder.
func (d *ownDir) names(folder string) (names []string, err error) {
	if folder == "" {
		folder = "."
	}
	fd, err := openFolder(int(d.root.Fd()), folder)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	path := filepath.Join(d.dir, folder)
	if err != nil {
		return nil, &os.PathError{Op: "openat", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	names, err = f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// List implements FS.
func (d *ownDir) List(dir string) (out []FileInfo, err error) {
	folder, err := filepath.Rel(d.dir, dir)
	if err != nil {
		return nil, err
	}
	names, err := d.names(folder)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		var st unix.Stat_t
		err := d.at("fstatat", filepath.Join(dir, name), func(fd int, base string) error {
			return unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		out = append(out, FileInfo{Name: name, Size: st.Size, Disk: min(st.Blocks*512, st.Size), Special: special(modeOf(&st), "")})
	}
	return out, nil
}

// Remove implements FS.
func (d *ownDir) Remove(name string) error {
	return d.at("unlinkat", name, func(fd int, base string) error { return unix.Unlinkat(fd, base, 0) })
}

// Rename implements FS.
func (d *ownDir) Rename(from, to string) error {
	return d.at("renameat", from, func(a int, old string) error {
		return d.at("renameat", to, func(b int, name string) error {
			if d.memory {
				return renameRaw(a, old, b, name)
			}
			return unix.Renameat(a, old, b, name)
		})
	})
}

// SyncDir implements FS.
func (d *ownDir) SyncDir(dir string) error {
	if d.memory {
		return nil // nothing outlives the machine
	}
	return d.at("fsync", filepath.Join(dir, "."), func(fd int, base string) error {
		n, err := openFolder(fd, base)
		if err != nil {
			return err
		}
		defer unix.Close(n)
		if err = unix.Fsync(n); errors.Is(err, unix.EINVAL) {
			return nil // SMB has no such call for folders: its server keeps the names
		}
		return err
	})
}

// Free implements FS.
func (d *ownDir) Free(string) (int64, error) {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(int(d.root.Fd()), &st) }); err != nil {
		return 0, &os.PathError{Op: "fstatfs", Path: d.dir, Err: err}
	}
	return freeBytes(&st), nil
}

// Lock implements FS by flock: the kernel drops it with the process, however that ends.
func (d *ownDir) Lock(name string) (io.Closer, error) {
	f, err := d.openFile(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is %s: remove it", errSpecial, name, special(info.Mode(), ""))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := again(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &os.PathError{Op: "flock", Path: name, Err: err}
		}
		return nil, busy(name, f)
	}
	// For the message above only: whether it can be written does not matter.
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return f, nil
}

// Close lets the directory go.
func (d *ownDir) Close() error { return d.root.Close() }
