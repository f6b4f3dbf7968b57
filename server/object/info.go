package object

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Info is what the FileXxxInformation classes and the CREATE and CLOSE responses
// say about an open file.
type Info struct {
	store.Attr             // of the file; FileAttributes as clients see them, DIRECTORY and NORMAL included
	Stream     store.Sizes // of the open stream; zero for a directory
	// DeletePending as FileStandardInformation shows it.
	DeletePending bool
	// Links counts the names that are not being deleted.
	Links uint32
}

// BasicChange is FileBasicInformation ([MS-FSCC] 2.4.7) as sent: times of 0 leave one
// alone, -1 stops and -2 resumes its automatic updates for this open.
type BasicChange struct {
	Creation, LastAccess, LastWrite, Change int64
	FileAttributes                          uint32
}

// Info returns the present state of the open file.
func (o *Open) Info() (Info, ntstatus.Status) { return Info{}, ntstatus.NotImplemented }

// SetBasic is FileBasicInformation ([MS-FSA] 2.1.5.15.2).
func (o *Open) SetBasic(c BasicChange) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// Mode is FileModeInformation's value ([MS-FSA] 2.1.5.12.18).
func (o *Open) Mode() uint32 { return 0 }

// SetMode is FileModeInformation ([MS-FSA] 2.1.5.15.8).
func (o *Open) SetMode(mode uint32) ntstatus.Status { return ntstatus.NotImplemented }

// Position is Open.CurrentByteOffset.
func (o *Open) Position() int64 { return 0 }

// SetPosition is FilePositionInformation ([MS-FSA] 2.1.5.15.10).
func (o *Open) SetPosition(off int64) ntstatus.Status { return ntstatus.NotImplemented }

// Streams lists the data streams, the unnamed one of a file first under "" ([MS-FSA] 2.1.5.12.29).
func (o *Open) Streams() ([]store.StreamInfo, ntstatus.Status) { return nil, ntstatus.NotImplemented }

// Names lists the hard links ([MS-FSCC] 2.4.21).
func (o *Open) Names() ([]store.LinkName, ntstatus.Status) { return nil, ntstatus.NotImplemented }

// Security returns the parts of the security descriptor that info selects
// (SECURITY_INFORMATION, [MS-FSA] 2.1.5.14), self-relative.
func (o *Open) Security(info uint32) ([]byte, ntstatus.Status) { return nil, ntstatus.NotImplemented }

// SetSecurity replaces the parts that info selects by those of sd ([MS-FSA]
// 2.1.5.17). It may wait for a break.
func (o *Open) SetSecurity(info uint32, sd []byte, done func(store.Pos, ntstatus.Status)) *Pending {
	done(0, ntstatus.NotImplemented)
	return nil
}

// EA returns the whole FILE_FULL_EA_INFORMATION list, nil without EAs.
func (o *Open) EA() ([]byte, ntstatus.Status) { return nil, ntstatus.NotImplemented }

// SetEA merges a FILE_FULL_EA_INFORMATION list: an empty value removes an EA ([MS-FSA] 2.1.5.15.6).
func (o *Open) SetEA(list []byte) (store.Pos, ntstatus.Status) { return 0, ntstatus.NotImplemented }

// ReparsePoint returns the REPARSE_DATA_BUFFER ([MS-FSA] 2.1.5.10.14).
func (o *Open) ReparsePoint() ([]byte, ntstatus.Status) { return nil, ntstatus.NotImplemented }

// SetReparsePoint is FSCTL_SET_REPARSE_POINT ([MS-FSA] 2.1.5.10.37).
func (o *Open) SetReparsePoint(b []byte) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// DeleteReparsePoint is FSCTL_DELETE_REPARSE_POINT ([MS-FSA] 2.1.5.10.3).
func (o *Open) DeleteReparsePoint(b []byte) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// ObjectID returns the FILE_OBJECTID_BUFFER; with create it makes one when there is none
// (FSCTL_CREATE_OR_GET_OBJECT_ID, FSCTL_GET_OBJECT_ID).
func (o *Open) ObjectID(create bool) ([64]byte, store.Pos, ntstatus.Status) {
	return [64]byte{}, 0, ntstatus.NotImplemented
}

// SetObjectID is FSCTL_SET_OBJECT_ID, with a zero id FSCTL_DELETE_OBJECT_ID.
func (o *Open) SetObjectID(id [64]byte) (store.Pos, ntstatus.Status) {
	return 0, ntstatus.NotImplemented
}

// Snapshots lists the times of the snapshots that show this file, newest first
// (FSCTL_SRV_ENUMERATE_SNAPSHOTS).
func (o *Open) Snapshots() ([]dtyp.Filetime, ntstatus.Status) { return nil, ntstatus.NotImplemented }
