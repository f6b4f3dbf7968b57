package fscc

// chain writes entries that each begin with NextEntryOffset, the distance to
// the next one, 0 in the last. An entry starts at a multiple of align from the
// start of the list; the padding belongs to the entry before, and the last has
// none ([MS-FSCC] 2.4: "No padding is required following the last data element").
type chain struct {
	buf   []byte
	start int // of the list in buf
	limit int // bytes the list may take
	last  int // start of the latest entry in buf, -1 if there is none
	align int
}

func newChain(dst []byte, limit, align int) chain {
	return chain{buf: dst, start: len(dst), limit: limit, last: -1, align: align}
}

// next makes room for an entry of at least size bytes and links it. It returns
// false and changes nothing when the entry does not fit.
func (c *chain) next(size int) bool {
	used := len(c.buf) - c.start
	pad := -used & (c.align - 1)
	if used+pad+size > c.limit {
		return false
	}
	for range pad {
		c.buf = append(c.buf, 0)
	}
	if c.last >= 0 {
		le.PutUint32(c.buf[c.last:], uint32(len(c.buf)-c.last))
	}
	c.last = len(c.buf)
	c.buf = append(c.buf, 0, 0, 0, 0)
	return true
}

// Bytes returns the buffer given at the beginning with the list behind it.
func (c *chain) Bytes() []byte { return c.buf }

// Len is the length of the list so far.
func (c *chain) Len() int { return len(c.buf) - c.start }

// walk calls fn for each entry of a list, NextEntryOffset included. An entry
// must hold at least min bytes and the next one must start behind that.
func walk(b []byte, min int, what string, fn func(entry []byte) error) error {
	for len(b) > 0 {
		if len(b) < min {
			return malformed(what)
		}
		next := le.Uint32(b)
		if next == 0 {
			return fn(b)
		}
		if next < uint32(min) || uint64(next) > uint64(len(b)) {
			return malformed(what + " NextEntryOffset")
		}
		if err := fn(b[:next]); err != nil {
			return err
		}
		b = b[next:]
	}
	return nil
}
