package block

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// scan walks the keys with a prefix in the state that is checked. A damaged part of the index
// is a problem, not the end: it goes on behind the damaged table.
func (c *checker) scan(prefix byte, fn func(key, value []byte) error) error {
	for from := []byte{prefix}; from != nil; {
		var err error
		if from, err = c.scanFrom(from, []byte{prefix + 1}, fn); err != nil {
			return err
		}
	}
	return nil
}

// scanFrom returns where to go on, nil at the end.
func (c *checker) scanFrom(from, to []byte, fn func(key, value []byte) error) (next []byte, err error) {
	it, err := c.snap.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	defer it.Close()
	last := from
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			c.found(Problem{What: fmt.Sprintf("index, near key %x: %v", it.Key(), err)})
			continue
		}
		last = append(last[:0:0], it.Key()...)
		if err := c.indexRead(len(last) + len(value)); err != nil {
			return nil, err
		}
		if err := fn(it.Key(), value); err != nil {
			return nil, err
		}
	}
	if err := it.Error(); err != nil {
		next = c.behind(last, to)
		c.found(Problem{What: fmt.Sprintf("index, keys from %x to %x: %v", last, next, err)})
	}
	return next, nil
}

// indexRead lets a scrubber rest for what it reads of the index.
func (c *checker) indexRead(n int) error {
	if c.pacer == nil {
		return nil
	}
	c.indexed += int64(n)
	if c.owes += n; c.owes < chunkSize {
		return nil
	}
	n, c.owes = c.owes, 0
	return c.pacer(n)
}

// tables verifies the checksums of the index's tables.
func (c *checker) tables() error {
	if c.how.SkipData {
		return nil
	}
	fs := c.v.opt.FS
	dir := fs.PathJoin(c.v.opt.Dir, "index")
	levels, err := c.v.index.SSTables()
	if err != nil {
		return c.v.indexError(err)
	}
	for _, level := range levels {
		for _, t := range level {
			name := t.BackingSSTNum.String() + ".sst"
			err := verifyTable(fs, fs.PathJoin(dir, name), c.pacer)
			if c.pacer != nil && err != nil && (errors.Is(err, errScrubStopped) || c.v.check() != nil) {
				return err
			}
			if err == nil || isNotExist(err) && !c.has(t.BackingSSTNum.String()) {
				continue // on a running volume it may be gone
			}
			c.bad = append(c.bad, keyRange{t.Smallest.UserKey, t.Largest.UserKey})
			c.found(Problem{What: fmt.Sprintf("index/%s, keys from %x to %x: %v", name, t.Smallest.UserKey, t.Largest.UserKey, err)})
		}
	}
	return nil
}

// has reports whether the index has a table now.
func (c *checker) has(num string) bool {
	levels, err := c.v.index.SSTables()
	return err != nil || slices.ContainsFunc(levels, func(l []pebble.SSTableInfo) bool {
		return slices.ContainsFunc(l, func(t pebble.SSTableInfo) bool { return t.BackingSSTNum.String() == num })
	})
}

// keyRange is the first and the last key of a table.
type keyRange struct{ from, to []byte }

// behind returns the key behind the damaged tables that begin ahead of to and end behind key,
// nil when there is none.
func (c *checker) behind(key, to []byte) (next []byte) {
	for _, b := range c.bad {
		if bytes.Compare(b.to, key) >= 0 && bytes.Compare(b.to, to) < 0 && (next == nil || bytes.Compare(b.to, next) < 0) {
			next = b.to
		}
	}
	if next != nil {
		next = append(append([]byte(nil), next...), 0)
	}
	return next
}
