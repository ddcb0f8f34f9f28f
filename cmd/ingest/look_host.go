package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"functiongraph-ingest/internal/config"
	"functiongraph-ingest/internal/socket"
	"functiongraph-ingest/internal/spool"
)

// ports takes the addresses that serve listens on, and lets them go when it has all: one may be in the other's way.
func (l *findings) ports(cfg *config.Config) {
	try := func(setting string, addresses []string) (held net.Listener) {
		var err error
		for _, address := range addresses {
			if path, ok := socket.UnixPath(address); !ok {
				held, err = socket.Listen(address, 0)
			} else if err = socket.InUse(path); err == nil {
				err = writable(filepath.Dir(path)) // it is not made
			}
			if err == nil {
				l.add(levelOK, "--"+setting, "", "%s is free", address)
				return held
			}
		}
		text, remedy := whyNotListen(setting, addresses, err)
		l.add(levelFailed, "--"+setting, remedy, "%s", text)
		return nil
	}
	held := []net.Listener{try("listen", cfg.ListenAddresses())}
	if cfg.Admin != config.Off {
		held = append(held, try("admin", []string{cfg.Admin}))
	}
	for _, ln := range held {
		if ln != nil {
			_ = ln.Close()
		}
	}
}

// whyNotListen says why none of the addresses of a setting can be taken, and what ends that; err is about the last one.
func whyNotListen(setting string, addresses []string, err error) (text, remedy string) {
	what := addresses[0]
	if n := len(addresses); n > 1 {
		what = fmt.Sprintf("each of %s to %s", addresses[0], addresses[n-1])
	}
	_, isUnix := socket.UnixPath(what)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return what + " is in use", "end the process that has it, perhaps another ingest, or choose another --" + setting
	case isUnix:
		return fmt.Sprintf("%s cannot be taken: %v", what, err), "choose a path for --" + setting + " where nothing is, in a folder that this process may write to"
	case errors.Is(err, syscall.EACCES):
		return what + " may not be taken: permission denied", "choose a port from 1024 up"
	}
	return fmt.Sprintf("%s cannot be taken: %v", what, err), "choose an address of this machine for --" + setting
}

// cannotListen is whyNotListen as an error.
func cannotListen(setting string, addresses []string, err error) error {
	text, remedy := whyNotListen(setting, addresses, err)
	return fmt.Errorf("--%s: %s: %s", setting, text, remedy)
}

// descriptors compares with what the budget reckons with. That serve lowers --max-conns is one of the budget's warnings.
func (l *findings) descriptors(d config.Descriptors, conns int) {
	switch need := d.Reserved + d.Conns; {
	case d.Limit == 0: // not known
	case d.Limit < need:
		l.add(levelFailed, "file descriptors", "raise the limit (ulimit -n, LimitNOFILE=)", "%d are allowed, and %d are needed for brokers, spool, admin address and a client", d.Limit, need)
	default:
		l.add(levelOK, "file descriptors", "", "%d are allowed, up to %d are needed (--max-conns=%d)", d.Limit, need, conns)
	}
}

// withinLimit is within how much of --memory-limit the process stays.
const withinLimit = 8 * config.MiB

func (l *findings) memory(cfg *config.Config, host config.Host) {
	most := config.Bytes(host.MemoryBytes)
	switch need := cfg.MemoryLimit + withinLimit; {
	case most == 0:
		l.add(levelOK, "memory", "", "the control group has no limit; --memory-limit=%s", cfg.MemoryLimit)
	case most < need:
		l.add(levelFailed, "memory", fmt.Sprintf("lower --memory-limit to %dMiB at most, or raise the limit of the container", max(0, (most-withinLimit)/config.MiB)),
			"--memory-limit=%s is kept within %s, and the control group allows %s: the kernel would end the process under load", cfg.MemoryLimit, withinLimit, most)
	default:
		l.add(levelOK, "memory", "", "the control group allows %s; --memory-limit=%s", most, cfg.MemoryLimit)
	}
}

// times looks at durations that can be used together and should not.
func (l *findings) times(cfg *config.Config) {
	if cfg.Sink == config.SinkKafka && cfg.Ack == config.AckKafka && cfg.AckTimeout <= cfg.RequestTimeout+cfg.Linger {
		l.add(levelWarning, "--ack-timeout", "raise --ack-timeout, or lower --request-timeout",
			"%v is not more than --request-timeout=%v: one slow request to a broker answers deliveries with 504 that arrive all the same", cfg.AckTimeout, cfg.RequestTimeout)
		return
	}
	l.add(levelOK, "--ack-timeout", "", "%v; clients must wait for longer", cfg.AckTimeout)
}

// output looks whether the file of --sink=ndjson can be written, without making it.
func (l *findings) output(cfg *config.Config) {
	if cfg.Output == "-" {
		return
	}
	what := cfg.Output
	if _, err := os.Stat(what); errors.Is(err, fs.ErrNotExist) {
		what = filepath.Dir(what)
	}
	if err := writable(what); err != nil {
		l.add(levelFailed, "--output="+cfg.Output, "choose another --output, or correct the mode of the folder", "cannot be written: %v", err)
		return
	}
	l.add(levelOK, "--output="+cfg.Output, "", "can be written")
}

// spool looks at the directory without changing it.
func (l *findings) spool(cfg *config.Config) {
	dir := cfg.SpoolDir
	subject := "spool " + dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.newSpool(subject, dir)
		return
	case err != nil:
		l.add(levelFailed, subject, "correct --spool-dir, or the modes of the folders above it", "%v", err)
		return
	case !info.IsDir():
		l.add(levelFailed, subject, "set --spool-dir to a directory", "is a file")
		return
	}
	if owner, foreign := foreignOwner(dir); foreign {
		l.add(levelFailed, subject, "choose another --spool-dir, or give it to the user that runs ingest", "belongs to user %d, who could put events into it", owner)
		return
	}
	if err := spool.Occupied(dir); err != nil {
		l.add(levelFailed, subject, occupiedRemedy, "%v", err)
		return
	}
	if err := writable(dir); err != nil {
		l.add(levelFailed, subject, "correct its owner and mode, or choose another --spool-dir", "cannot be written: %v", err)
		return
	}
	pid, held := lockHolder(filepath.Join(dir, "lock"))
	if !held {
		pid, held = lockHolder(dir) // the file may have been removed
	}
	if held {
		l.add(levelFailed, subject, "end that process, or give this one another --spool-dir", "is in use by process %s", pid)
	}
	l.space(cfg, subject, dir)
	l.contents(subject, dir)
}

// newSpool: the directory is made at the start, below the nearest folder that exists.
func (l *findings) newSpool(subject, dir string) {
	parent := filepath.Clean(dir)
	for {
		info, err := os.Stat(parent)
		if err == nil && !info.IsDir() {
			l.add(levelFailed, subject, "correct --spool-dir", "cannot be made: %s is a file", parent)
			return
		}
		if err == nil || filepath.Dir(parent) == parent {
			break
		}
		if _, err := os.Lstat(parent); err == nil {
			l.add(levelFailed, subject, "mend the link, or correct --spool-dir", "cannot be made: %s is a link to what is not there", parent)
			return
		}
		parent = filepath.Dir(parent)
	}
	if err := writable(parent); err != nil {
		l.add(levelFailed, subject, "make it for the user that runs ingest, or choose another --spool-dir", "cannot be made in %s: %v", parent, err)
		return
	}
	l.add(levelNote, subject, "", "does not exist and is made at the start")
}

func (l *findings) space(cfg *config.Config, subject, dir string) {
	free, err := spool.OS{}.Free(dir)
	if err != nil {
		l.add(levelWarning, subject, "", "its free space cannot be read: %v", err)
		return
	}
	keep := cfg.SpoolKeep
	if keep == 0 {
		keep = config.Bytes(free) / 2
	}
	room := config.Bytes(free) - keep
	switch {
	case room < config.MiB:
		l.add(levelFailed, subject, "free space, or lower --spool-keep-free", "%s are free, of which --spool-keep-free=%s are for others: there is no room", short(config.Bytes(free)), short(keep))
	case cfg.SpoolMax > room:
		l.add(levelWarning, subject, "free space, or lower --spool-max", "%s are free for it, less than --spool-max=%s", short(room), cfg.SpoolMax)
	default:
		l.add(levelOK, subject, "", "can be written; %s are free for it", short(room))
	}
}

// contents counts what an earlier process left. Checksums are read, as a start reads them.
func (l *findings) contents(subject, dir string) {
	var frames, events, damaged, foreign int64
	report, err := spool.Inspect(spool.Inspection{Dir: dir}, func(p *spool.Piece) error {
		switch p.Kind {
		case spool.KindFrame:
			frames++
			events += int64(p.Frame.Events)
		case spool.KindForeign:
			foreign++
		case spool.KindCorrupt, spool.KindUnreadable:
			damaged++
		}
		return nil
	})
	if err != nil {
		l.add(levelFailed, subject, "correct its owner and mode, or choose another --spool-dir", "cannot be read: %v", err)
		return
	}
	if foreign > 0 {
		l.add(levelFailed, subject, "start the version of ingest that wrote them (ingest spool verify names the files), or choose another --spool-dir", "%d segments have another format, which this version cannot read", foreign)
	}
	if damaged > 0 {
		l.add(levelWarning, subject, "ingest spool verify "+dir+" says where", "%d damaged regions", damaged)
	}
	if n := len(report.Quarantine) + len(report.SetAside); n > 0 {
		l.add(levelNote, subject, "", "%d files in quarantine or set aside: an operator should look (ingest spool ls)", n)
	}
	l.add(levelOK, subject, "", "%d events in %d frames are still to be sent, %d segments", events, frames, report.Segments)
}

// short is a size to three digits or so.
func short(n config.Bytes) string {
	for _, u := range []struct {
		name string
		size config.Bytes
	}{{"GiB", config.GiB}, {"MiB", config.MiB}, {"KiB", config.KiB}} {
		if n >= u.size {
			return strconv.FormatFloat(float64(n)/float64(u.size), 'f', 1, 64) + u.name
		}
	}
	return n.String()
}
