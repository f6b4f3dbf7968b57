package server

import (
	"math"
	"sync"
	"sync/atomic"
)

// sequenceLog is what a session's client has said of its Session.ChannelSequence, which it raises when it
// gives a channel up [MS-SMB2] 3.2.7.1: since when it is known to be past a value, in breaks that
// clients had been told of by then (object.FS.Breaks).
type sequenceLog struct {
	newest atomic.Uint32 // the value and sequenceSeen; changes under mu
	mu     sync.Mutex
	raised []raise // in order, the last sequencesKept; guarded by mu
}

type raise struct {
	sequence uint16
	breaks   uint64
}

const (
	sequenceSeen = 1 << 16 // in sequenceLog.newest: there has been a value
	// sequencesKept bounds a sequenceLog. Channels are not given up many times during one break.
	sequencesKept = 16
)

// note takes the ChannelSequence of a request. breaks is asked for only when that is a new one.
func (l *sequenceLog) note(sequence uint16, breaks func() uint64) {
	if n := l.newest.Load(); n&sequenceSeen != 0 && sequence-uint16(n)-1 >= 0x7FFF {
		return // the same, or older
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.newest.Load()
	if n&sequenceSeen != 0 {
		if sequence-uint16(n)-1 >= 0x7FFF {
			return
		}
		if len(l.raised) == sequencesKept {
			l.raised = append(l.raised[:0], l.raised[1:]...)
		}
		l.raised = append(l.raised, raise{sequence, breaks()})
	}
	l.newest.Store(uint32(sequence) | sequenceSeen)
}

// passed returns how many breaks had been told when the client was first known to be past a value:
// it has sent nothing with it since, and no answer to a later break. Of a value that is the newest it is
// more than there ever are.
func (l *sequenceLog) passed(sequence uint16) uint64 {
	if uint16(l.newest.Load()) == sequence {
		return math.MaxUint64
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.raised {
		if r.sequence-sequence-1 < 0x7FFF {
			return r.breaks
		}
	}
	return math.MaxUint64
}
