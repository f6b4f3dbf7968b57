package dtyp

import (
	"fmt"
	"strings"
)

// AccessMask is ACCESS_MASK (MS-DTYP 2.4.3) with the rights of files and
// directories (MS-SMB2 2.2.13.1) in its low sixteen bits.
type AccessMask uint32

// Rights of files; the directory's name for the same bit stands in the second list.
const (
	FileReadData        AccessMask = 0x00000001
	FileWriteData       AccessMask = 0x00000002
	FileAppendData      AccessMask = 0x00000004
	FileReadEA          AccessMask = 0x00000008
	FileWriteEA         AccessMask = 0x00000010
	FileExecute         AccessMask = 0x00000020
	FileDeleteChild     AccessMask = 0x00000040
	FileReadAttributes  AccessMask = 0x00000080
	FileWriteAttributes AccessMask = 0x00000100

	FileListDirectory   = FileReadData
	FileAddFile         = FileWriteData
	FileAddSubdirectory = FileAppendData
	FileTraverse        = FileExecute

	Delete      AccessMask = 0x00010000
	ReadControl AccessMask = 0x00020000
	WriteDAC    AccessMask = 0x00040000
	WriteOwner  AccessMask = 0x00080000
	Synchronize AccessMask = 0x00100000

	AccessSystemSecurity AccessMask = 0x01000000
	MaximumAllowed       AccessMask = 0x02000000

	GenericAll     AccessMask = 0x10000000
	GenericExecute AccessMask = 0x20000000
	GenericWrite   AccessMask = 0x40000000
	GenericRead    AccessMask = 0x80000000

	GenericMask            = GenericAll | GenericExecute | GenericWrite | GenericRead
	StandardRightsRequired = Delete | ReadControl | WriteDAC | WriteOwner
	StandardRightsAll      = StandardRightsRequired | Synchronize
	SpecificRightsAll      = AccessMask(0x0000FFFF)

	// FileAllAccess and the three below are what the generic rights of a file
	// stand for (MS-SMB2 2.2.13.1).
	FileAllAccess      = StandardRightsAll | 0x1FF
	FileGenericRead    = ReadControl | Synchronize | FileReadData | FileReadAttributes | FileReadEA
	FileGenericWrite   = ReadControl | Synchronize | FileWriteData | FileAppendData | FileWriteAttributes | FileWriteEA
	FileGenericExecute = ReadControl | Synchronize | FileReadAttributes | FileExecute
)

// MapFileGeneric replaces the generic bits by the rights of files and
// directories they stand for.
func (m AccessMask) MapFileGeneric() AccessMask {
	if m&GenericMask == 0 {
		return m
	}
	if m&GenericRead != 0 {
		m |= FileGenericRead
	}
	if m&GenericWrite != 0 {
		m |= FileGenericWrite
	}
	if m&GenericExecute != 0 {
		m |= FileGenericExecute
	}
	if m&GenericAll != 0 {
		m |= FileAllAccess
	}
	return m &^ GenericMask
}

// Has reports whether every right of want is in m.
func (m AccessMask) Has(want AccessMask) bool { return m&want == want }

// Any reports whether some right of want is in m.
func (m AccessMask) Any(want AccessMask) bool { return m&want != 0 }

var maskNames = []struct {
	bit  AccessMask
	name string
}{
	{FileReadData, "READ_DATA"}, {FileWriteData, "WRITE_DATA"}, {FileAppendData, "APPEND_DATA"},
	{FileReadEA, "READ_EA"}, {FileWriteEA, "WRITE_EA"}, {FileExecute, "EXECUTE"},
	{FileDeleteChild, "DELETE_CHILD"}, {FileReadAttributes, "READ_ATTRIBUTES"},
	{FileWriteAttributes, "WRITE_ATTRIBUTES"}, {Delete, "DELETE"}, {ReadControl, "READ_CONTROL"},
	{WriteDAC, "WRITE_DAC"}, {WriteOwner, "WRITE_OWNER"}, {Synchronize, "SYNCHRONIZE"},
	{AccessSystemSecurity, "ACCESS_SYSTEM_SECURITY"}, {MaximumAllowed, "MAXIMUM_ALLOWED"},
	{GenericAll, "GENERIC_ALL"}, {GenericExecute, "GENERIC_EXECUTE"},
	{GenericWrite, "GENERIC_WRITE"}, {GenericRead, "GENERIC_READ"},
}

func (m AccessMask) String() string {
	if m == 0 {
		return "0"
	}
	var b strings.Builder
	for _, n := range maskNames {
		if m&n.bit != 0 {
			if b.Len() > 0 {
				b.WriteByte('|')
			}
			b.WriteString(n.name)
			m &^= n.bit
		}
	}
	if m != 0 {
		fmt.Fprintf(&b, "|%#x", uint32(m))
	}
	return strings.TrimPrefix(b.String(), "|")
}
