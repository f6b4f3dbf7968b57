package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// The flags of FileRenameInformationEx and FileLinkInformationEx ([MS-FSCC] 2.4.43, 2.4.28.2).
const (
	RenameReplaceIfExists        = 0x01
	RenamePosixSemantics         = 0x02
	RenameSuppressPinInheritance = 0x04
	RenameIgnoreReadOnly         = 0x40
)

// Rename moves the open file or stream ([MS-FSA] 2.1.5.15.12). target is relative to the
// tree's root; ":name" renames the open stream. It may wait for breaks.
func (o *Open) Rename(target string, flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	done(0, ntstatus.NotImplemented)
	return nil
}

// Link gives the open file a further name ([MS-FSA] 2.1.5.15.7).
func (o *Open) Link(target string, flags uint32, done func(store.Pos, ntstatus.Status)) *Pending {
	done(0, ntstatus.NotImplemented)
	return nil
}
