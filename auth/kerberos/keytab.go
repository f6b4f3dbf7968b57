package kerberos

import (
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"gabion/protocol/krb5"
)

// maxKeytab bounds the file; a key is about a hundred bytes.
const maxKeytab = 1 << 20

// Keytab is a key table file that is read again when it changes. A file that
// cannot be read any more leaves the keys as they were.
type Keytab struct {
	path string
	log  *slog.Logger

	table   atomic.Pointer[table]
	checked atomic.Int64 // Unix nanoseconds of the last look at the file
	failing atomic.Bool  // the last look failed, and was logged
}

// table is what was read, with the file's looks at that time.
type table struct {
	entries []krb5.KeytabEntry
	file    os.FileInfo
}

// lookInterval is how often an idle look at the file is made. A ticket that no key
// fits has it looked at in any case.
const lookInterval = 2 * time.Second

// OpenKeytab reads a key table. It must not be readable by others.
func OpenKeytab(path string, log *slog.Logger) (*Keytab, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	t, err := readTable(path)
	if err != nil {
		return nil, err
	}
	k := &Keytab{path: path, log: log}
	k.table.Store(t)
	k.checked.Store(time.Now().UnixNano())
	return k, nil
}

func readTable(path string) (*table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxKeytab:
		return nil, fmt.Errorf("%s is no key table: %s of %d bytes", path, info.Mode().Type(), info.Size())
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others (mode %04o); run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	entries, err := krb5.DecodeKeytab(b)
	clear(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s holds no keys", path)
	}
	return &table{entries, info}, nil
}

// Path is the file's name.
func (k *Keytab) Path() string { return k.path }

// Entries returns the keys, which the caller must not change, after a look at the
// file if the last was some time ago.
func (k *Keytab) Entries() []krb5.KeytabEntry {
	last, now := k.checked.Load(), time.Now().UnixNano()
	if passed := now - last; (passed < 0 || passed > int64(lookInterval)) && k.checked.CompareAndSwap(last, now) {
		k.Refresh()
	}
	return k.table.Load().entries
}

// Refresh looks at the file and reports whether there are other keys now.
func (k *Keytab) Refresh() bool {
	old := k.table.Load()
	info, err := os.Stat(k.path)
	if err == nil && os.SameFile(info, old.file) && info.ModTime().Equal(old.file.ModTime()) && info.Size() == old.file.Size() &&
		info.Mode() == old.file.Mode() {
		k.failing.Store(false)
		return false
	}
	var t *table
	if err == nil {
		t, err = readTable(k.path)
	}
	if err != nil {
		if !k.failing.Swap(true) {
			k.log.Warn("key table cannot be read again; the keys known so far stay in use", "keytab", k.path, "error", err)
		}
		return false
	}
	k.failing.Store(false)
	if !k.table.CompareAndSwap(old, t) {
		return true // somebody else has read it meanwhile
	}
	k.log.Info("key table read again", "keytab", k.path, "keys", len(t.entries))
	return true
}
