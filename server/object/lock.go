package object

import "gabion/protocol/ntstatus"

// LockRange is one SMB2_LOCK_ELEMENT's range.
type LockRange struct {
	Off, Len  uint64
	Exclusive bool
}

// Lock takes a byte-range lock ([MS-FSA] 2.1.5.8). With wait it pends until the lock
// can be had, else the answer is STATUS_LOCK_NOT_GRANTED.
func (o *Open) Lock(r LockRange, wait bool, done func(ntstatus.Status)) *Pending {
	done(ntstatus.NotImplemented)
	return nil
}

// Unlock releases exactly one lock of that range ([MS-FSA] 2.1.5.9).
func (o *Open) Unlock(off, n uint64) ntstatus.Status { return ntstatus.NotImplemented }

// LockReplayed reports whether a LOCK request with this sequence word has been carried out
// before ([MS-SMB2] 3.3.5.14): it is answered with success without work.
func (o *Open) LockReplayed(sequence uint32) bool { return false }

// LockDone records a lock sequence after its request succeeded.
func (o *Open) LockDone(sequence uint32) {}
