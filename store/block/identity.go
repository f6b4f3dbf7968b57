package block

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"gabion/protocol/dtyp"
	"gabion/store"
	"gabion/store/seglog"
	"gabion/store/upcase"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	volumeMagic   = "GABIONV1"
	formatVersion = 1
	volumeFile    = "VOLUME"
	identitySize  = 64
)

// identity is the VOLUME file.
type identity struct {
	id          [16]byte
	serial      uint32
	segmentSize int64
	created     dtyp.Filetime
	table       *upcase.Table
}

func (i *identity) encode() []byte {
	b := append([]byte{}, volumeMagic...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, 0)
	b = append(b, i.id[:]...)
	b = le.AppendUint32(b, i.serial)
	b = le.AppendUint32(b, blockSize)
	b = le.AppendUint64(b, uint64(i.segmentSize))
	b = le.AppendUint64(b, uint64(i.created))
	b = le.AppendUint32(b, seglog.CRC(b))
	t := i.table.Encode()
	b = le.AppendUint32(b, uint32(len(t)))
	b = append(b, t...)
	b = le.AppendUint32(b, seglog.CRC(t))
	return append(b, make([]byte, -len(b)&(blockSize-1))...)
}

func decodeIdentity(b []byte) (identity, error) {
	var i identity
	if len(b) < identitySize || string(b[:8]) != volumeMagic {
		return i, errors.New("not a Gabion volume")
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return i, fmt.Errorf("format version %d, this program knows %d", v, formatVersion)
	}
	if le.Uint32(b[56:]) != seglog.CRC(b[:56]) {
		return i, errors.New("damaged identity")
	}
	copy(i.id[:], b[16:])
	i.serial = le.Uint32(b[32:])
	i.segmentSize = int64(le.Uint64(b[40:]))
	i.created = dtyp.Filetime(le.Uint64(b[48:]))
	n := int(le.Uint32(b[60:]))
	if n > len(b)-identitySize-4 {
		return i, errors.New("damaged case table")
	}
	t := b[identitySize : identitySize+n]
	if le.Uint32(b[identitySize+n:]) != seglog.CRC(t) {
		return i, errors.New("damaged case table")
	}
	var err error
	i.table, err = upcase.Decode(t)
	return i, err
}

// readIdentity returns the volume's identity, or ok false when there is no volume.
func readIdentity(fs vfs.FS, dir string) (i identity, ok bool, err error) {
	path := fs.PathJoin(dir, volumeFile)
	if _, err := fs.Stat(path); err != nil {
		if isNotExist(err) {
			return i, false, nil
		}
		return i, false, err
	}
	f, err := fs.Open(path)
	if err != nil {
		return i, false, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err == nil {
		i, err = decodeIdentity(b)
	}
	if err != nil {
		return i, false, fmt.Errorf("%s: %w", path, err)
	}
	return i, true, nil
}

// createIdentity makes dir a volume. Until the rename there is none; after it, it is whole.
func createIdentity(o Options) (identity, error) {
	i := identity{segmentSize: o.SegmentSize, created: dtyp.FiletimeOf(o.Now()), table: upcase.Default()}
	rand.Read(i.id[:])
	i.serial = le.Uint32(i.id[:]) | 1
	tmp, path := o.FS.PathJoin(o.Dir, volumeFile+".new"), o.FS.PathJoin(o.Dir, volumeFile)
	f, err := o.FS.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return i, err
	}
	if _, err = f.Write(i.encode()); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = o.FS.Rename(tmp, path)
	}
	if err == nil {
		err = syncDir(o.FS, o.Dir)
	}
	return i, err
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// makeDirs makes dir and what is missing above it, durably.
func makeDirs(fs vfs.FS, dir string) error {
	if _, err := fs.Stat(dir); err == nil {
		return nil
	} else if !isNotExist(err) {
		return err
	}
	parent := fs.PathDir(dir)
	if parent != dir && parent != "." && parent != "" {
		if err := makeDirs(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if parent == "." {
		parent = ""
	}
	return syncDir(fs, parent)
}

func (i *identity) info() store.Info {
	return store.Info{GUID: dtyp.GUID(i.id), Serial: i.serial, Created: i.created, BlockSize: blockSize}
}
