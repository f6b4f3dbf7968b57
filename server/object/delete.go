package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// The flags of FileDispositionInformationEx ([MS-FSCC] 2.4.11.2). The plain class is
// DispositionDelete or 0.
const (
	DispositionDelete          = 0x01
	DispositionPosixSemantics  = 0x02
	DispositionForceImageCheck = 0x04
	DispositionOnClose         = 0x08
	DispositionIgnoreReadonly  = 0x10
)

// SetDisposition marks the file for deletion or takes the mark away ([MS-FSA] 2.1.5.15.3, 2.1.5.15.4).
// It may wait for a break of handle caching.
func (o *Open) SetDisposition(flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	done(0, ntstatus.NotImplemented)
	return nil
}
