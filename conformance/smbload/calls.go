package main

import (
	"errors"
	"fmt"
	"time"
)

type smbError struct {
	op     string
	name   string
	status uint32
}

func (e *smbError) Error() string { return fmt.Sprintf("%s %q: %s", e.op, e.name, ntStatus(e.status)) }

func (c *conn) create(name string, access, disposition, opts uint32) (id fileID, size int64, err error) {
	u := utf16le(name)
	st, msg, err := c.call(cmdCreate, 57+len(u), 1, func(b []byte) int {
		return putCreate(b, u, access, disposition, opts)
	})
	if err != nil {
		return id, 0, err
	}
	if st != statusSuccess {
		return id, 0, &smbError{"create", name, st}
	}
	if len(msg) < 64+88 {
		return id, 0, errors.New("short CREATE response")
	}
	copy(id[:], msg[64+64:])
	return id, int64(le.Uint64(msg[64+48:])), nil
}

func (c *conn) close(id fileID) error {
	st, _, err := c.call(cmdClose, 24, 1, func(b []byte) int { return putClose(b, &id) })
	if err == nil && st != 0 {
		err = &smbError{"close", "", st}
	}
	return err
}

func (c *conn) fsync(id fileID) error {
	st, _, err := c.call(cmdFlush, 24, 1, func(b []byte) int { return putFlush(b, &id) })
	if err == nil && st != 0 {
		err = &smbError{"flush", "", st}
	}
	return err
}

func (c *conn) mkdir(name string) error {
	id, _, err := c.create(name, accessListDir, dispOpenIf, optDirectory)
	if err != nil {
		return err
	}
	return c.close(id)
}

func (c *conn) remove(name string, dir bool) error {
	opts := uint32(optNonDirectory)
	if dir {
		opts = optDirectory
	}
	id, _, err := c.create(name, accessDelete, dispOpen, opts|optDeleteOnClose)
	if err != nil {
		return err
	}
	return c.close(id)
}

// countDir returns the number of entries a listing of the directory shows.
func (c *conn) countDir(name string) (int, error) {
	id, _, err := c.create(name, accessListDir, dispOpen, optDirectory)
	if err != nil {
		return 0, err
	}
	total := 0
	for first := true; ; first = false {
		st, msg, err := c.call(cmdQueryDir, 34, 1, func(b []byte) int { return putQueryDir(b, &id, 65536, first) })
		if err != nil {
			return 0, err
		}
		if st == statusNoMoreFiles {
			break
		}
		if st != 0 {
			return 0, &smbError{"query directory", name, st}
		}
		n, err := countEntries(msg)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, c.close(id)
}

func (c *conn) logoff() {
	c.nc.SetDeadline(time.Now().Add(5 * time.Second))
	four := func(b []byte) int { le.PutUint32(b, 4); return 4 }
	if _, _, err := c.call(cmdTreeDisconnect, 4, 1, four); err == nil {
		c.tree = 0
		c.call(cmdLogoff, 4, 1, four)
	}
	c.nc.Close()
}
