package spool

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"functiongraph-ingest/pkg/sink/kafka/diskqueue"
)

// maxNumber is the greatest segment number that a directory may hold. Numbers grow by one per segment, so none
// comes near it; what follows a number close to the end of 32 bits would begin at 1 again and be taken for done.
const maxNumber = 1 << 30

// maxSegmentBytes is the size of the largest segment file: one frame of maxFrameBytes, with header and end mark.
const maxSegmentBytes = maxFrameBytes + emptySegment

// segmentFile is a segment as its name tells.
type segmentFile struct {
	FileInfo
	number uint32
	salt   uint64
	// displaced: its number says nothing, because another segment has the same one or because numbers are beyond
	// maxNumber. Open gives it a number of its own; the cursors do not tell which of its frames are done.
	displaced bool
}

// directory is what the names in a spool directory tell.
type directory struct {
	segments []segmentFile // by number
	copies   []segmentFile // a second file of a segment: of the same salt
	strays   []FileInfo    // have the suffix of a segment and are none
	numbers  bool          // all numbers are usable; false: the cursors say nothing
}

// readDirectory lists dir. A directory that was copied onto an older one may hold two segments of one number,
// because numbers begin again at 1 when a spool was empty.
func readDirectory(fsys FS, dir string) (directory, error) {
	list, err := fsys.List(dir)
	if err != nil {
		return directory{}, err
	}
	d := directory{numbers: true}
	for _, f := range list {
		if !strings.HasSuffix(f.Name, segmentSuffix) {
			continue
		}
		number, salt, ok := parseSegmentName(f.Name)
		if !ok || f.Special != "" {
			d.strays = append(d.strays, f)
			continue
		}
		d.segments = append(d.segments, segmentFile{FileInfo: f, number: number, salt: salt})
		d.numbers = d.numbers && number <= maxNumber
	}
	if err := d.takeOutCopies(fsys, dir); err != nil {
		return directory{}, err
	}
	slices.SortFunc(d.segments, func(a, b segmentFile) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.salt, b.salt))
	})
	for i := 1; i < len(d.segments); i++ {
		if a, b := &d.segments[i-1], &d.segments[i]; a.number == b.number {
			a.displaced, b.displaced = true, true
		}
	}
	if !d.numbers {
		d.displaceAll()
	}
	return d, nil
}

func (d *directory) displaceAll() {
	d.numbers = false
	for i := range d.segments {
		d.segments[i].displaced = true
	}
}

// lowestDisplaced is the first position that a displaced segment may have had; 0: none is displaced.
func (d *directory) lowestDisplaced() (lowest Pos) {
	for _, f := range d.segments {
		if pos := diskqueue.PosOf(f.number, 0); f.displaced && (lowest == 0 || pos < lowest) {
			lowest = pos
		}
	}
	return lowest
}

// takeOutCopies keeps one of the files that have the same salt: the one whose header has the number of its
// name, else the longest.
func (d *directory) takeOutCopies(fsys FS, dir string) error {
	bySalt := map[uint64][]segmentFile{}
	for _, f := range d.segments {
		bySalt[f.salt] = append(bySalt[f.salt], f)
	}
	if len(bySalt) == len(d.segments) {
		return nil
	}
	var kept []segmentFile
	for _, f := range d.segments {
		same := bySalt[f.salt]
		if len(same) == 1 {
			kept = append(kept, f)
			continue
		}
		best := 0
		for i := range same {
			own, err := ownsName(fsys, dir, same[i])
			if err != nil {
				return err
			}
			if own {
				best = i
				break
			}
			if same[i].Size > same[best].Size {
				best = i
			}
		}
		if same[best].Name == f.Name {
			kept = append(kept, f)
		} else {
			d.copies = append(d.copies, f)
		}
	}
	d.segments = kept
	return nil
}

// ownsName reports whether the header of a segment has the number that its name has.
func ownsName(fsys FS, dir string, f segmentFile) (bool, error) {
	file, err := fsys.Open(filepath.Join(dir, f.Name), true)
	if isNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	var head [segmentHeaderBytes]byte
	if err := readUpTo(file, head[:], 0); err != nil {
		return false, err
	}
	var h segmentHeader
	return h.parse(head[:]) && h.number == f.number, nil
}
