package seglog

// ReadAt fills p with the bytes at off of segment seq. ErrGone: the segment was
// recycled since the address was looked up.
func (l *Log) ReadAt(seq uint64, p []byte, off uint32) error {
	s, f, err := l.acquire(seq)
	if err != nil {
		return err
	}
	defer s.release()
	if int64(off)+int64(len(p)) > s.written.Load() {
		if l.readPending(seq, p, off) {
			return nil
		}
	}
	if len(p) == 0 {
		return nil
	}
	_, err = f.ReadAt(p, int64(off))
	return err
}

// readPending reads what has not reached the file.
func (l *Log) readPending(seq uint64, p []byte, off uint32) bool {
	l.mu.Lock()
	for _, s := range l.slabs {
		at := int64(off) - s.base
		if s.seq != seq || at < 0 || at+int64(len(p)) > int64(s.used) {
			continue
		}
		s.refs++
		l.mu.Unlock()
		copy(p, s.buf[at:])
		l.mu.Lock()
		s.refs--
		l.mu.Unlock()
		return true
	}
	l.mu.Unlock()
	return false
}
