package fscc

import "gabion/protocol/dtyp"

// NameInformation is FILE_NAME_INFORMATION ([MS-FSCC] 2.1.7), the form of
// FileNameInformation, FileAlternateNameInformation, FileNormalizedNameInformation and
// FileShortNameInformation.
type NameInformation struct {
	FileName string
}

// Append appends the wire form.
func (x *NameInformation) Append(dst []byte) []byte { return appendName(dst, x.FileName) }

// Decode reads the wire form.
func (x *NameInformation) Decode(b []byte) (err error) {
	if len(b) < 4 {
		return malformed("FILE_NAME_INFORMATION")
	}
	x.FileName, err = nameAt(b, 4, le.Uint32(b), "FILE_NAME_INFORMATION")
	return err
}

// AllInformation is FILE_ALL_INFORMATION ([MS-FSCC] 2.4.2).
type AllInformation struct {
	BasicInformation
	StandardInformation
	InternalInformation
	EaInformation
	AccessInformation
	PositionInformation
	ModeInformation
	AlignmentInformation
	NameInformation
}

const allInformationFixed = BasicInformationSize + StandardInformationSize + InternalInformationSize + EaInformationSize +
	AccessInformationSize + PositionInformationSize + ModeInformationSize + AlignmentInformationSize

// Append appends the wire form.
func (x *AllInformation) Append(dst []byte) []byte {
	dst = x.BasicInformation.Append(dst)
	dst = x.StandardInformation.Append(dst)
	dst = x.InternalInformation.Append(dst)
	dst = x.EaInformation.Append(dst)
	dst = x.AccessInformation.Append(dst)
	dst = x.PositionInformation.Append(dst)
	dst = x.ModeInformation.Append(dst)
	dst = x.AlignmentInformation.Append(dst)
	return x.NameInformation.Append(dst)
}

// Decode reads the wire form.
func (x *AllInformation) Decode(b []byte) error {
	if len(b) < allInformationFixed+4 {
		return malformed("FILE_ALL_INFORMATION")
	}
	parts := []struct {
		decode func([]byte) error
		size   int
	}{
		{x.BasicInformation.Decode, BasicInformationSize},
		{x.StandardInformation.Decode, StandardInformationSize},
		{x.InternalInformation.Decode, InternalInformationSize},
		{x.EaInformation.Decode, EaInformationSize},
		{x.AccessInformation.Decode, AccessInformationSize},
		{x.PositionInformation.Decode, PositionInformationSize},
		{x.ModeInformation.Decode, ModeInformationSize},
		{x.AlignmentInformation.Decode, AlignmentInformationSize},
	}
	for _, p := range parts {
		if err := p.decode(b); err != nil {
			return err
		}
		b = b[p.size:]
	}
	return x.NameInformation.Decode(b)
}

// RenameInformation is what FileRenameInformation, FileRenameInformationEx,
// FileLinkInformation and FileLinkInformationEx carry over SMB2 ([MS-FSCC]
// 2.4.42.2, 2.4.43, 2.4.28.2). In the classes without Ex the first byte is
// ReplaceIfExists, given here as the flag RenameReplaceIfExists.
type RenameInformation struct {
	Flags         uint32
	RootDirectory uint64 // must be 0 over the network
	FileName      string
}

const (
	renameFixed = 20
	renameMin   = 24 // a C compiler's sizeof, which clients pad to
)

// AppendRename appends the wire form that class has.
func (x *RenameInformation) AppendRename(dst []byte, class FileInformationClass) []byte {
	start := len(dst)
	flags := x.Flags
	if !class.hasFlags() {
		flags &= RenameReplaceIfExists
	}
	dst = le.AppendUint32(dst, flags)
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, x.RootDirectory)
	dst = appendName(dst, x.FileName)
	for len(dst)-start < renameMin {
		dst = append(dst, 0)
	}
	return dst
}

func (c FileInformationClass) hasFlags() bool {
	return c == FileRenameInformationEx || c == FileLinkInformationEx
}

// DecodeRename reads the wire form that class has.
func (x *RenameInformation) DecodeRename(b []byte, class FileInformationClass) (err error) {
	if len(b) < renameFixed {
		return malformed(class.String())
	}
	x.Flags = le.Uint32(b)
	if !class.hasFlags() {
		x.Flags = 0
		if b[0] != 0 {
			x.Flags = RenameReplaceIfExists
		}
	}
	x.RootDirectory = le.Uint64(b[8:])
	x.FileName, err = nameAt(b, renameFixed, le.Uint32(b[16:]), class.String()+" FileName")
	return err
}

// Replace reports whether an existing target is to be replaced.
func (x *RenameInformation) Replace() bool { return x.Flags&RenameReplaceIfExists != 0 }

// FsVolumeInformation is FILE_FS_VOLUME_INFORMATION ([MS-FSCC] 2.5.9).
type FsVolumeInformation struct {
	VolumeCreationTime dtyp.Filetime
	VolumeSerialNumber uint32
	SupportsObjects    bool
	VolumeLabel        string
}

const fsVolumeFixed = 18

// Append appends the wire form.
func (x *FsVolumeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.VolumeCreationTime))
	dst = le.AppendUint32(dst, x.VolumeSerialNumber)
	dst = le.AppendUint32(dst, uint32(2*dtyp.UTF16Len(x.VolumeLabel)))
	dst = append(appendBool(dst, x.SupportsObjects), 0)
	return dtyp.AppendUTF16(dst, x.VolumeLabel)
}

// Decode reads the wire form.
func (x *FsVolumeInformation) Decode(b []byte) (err error) {
	if len(b) < fsVolumeFixed {
		return malformed("FILE_FS_VOLUME_INFORMATION")
	}
	x.VolumeCreationTime = dtyp.Filetime(le.Uint64(b))
	x.VolumeSerialNumber = le.Uint32(b[8:])
	x.SupportsObjects = b[16] != 0
	x.VolumeLabel, err = nameAt(b, fsVolumeFixed, le.Uint32(b[12:]), "FILE_FS_VOLUME_INFORMATION")
	return err
}

// FsAttributeInformation is FILE_FS_ATTRIBUTE_INFORMATION ([MS-FSCC] 2.5.1).
type FsAttributeInformation struct {
	FileSystemAttributes       uint32
	MaximumComponentNameLength int32
	FileSystemName             string
}

// Append appends the wire form.
func (x *FsAttributeInformation) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.FileSystemAttributes)
	dst = le.AppendUint32(dst, uint32(x.MaximumComponentNameLength))
	return appendName(dst, x.FileSystemName)
}

// Decode reads the wire form.
func (x *FsAttributeInformation) Decode(b []byte) (err error) {
	if len(b) < 12 {
		return malformed("FILE_FS_ATTRIBUTE_INFORMATION")
	}
	x.FileSystemAttributes = le.Uint32(b)
	x.MaximumComponentNameLength = int32(le.Uint32(b[4:]))
	x.FileSystemName, err = nameAt(b, 12, le.Uint32(b[8:]), "FILE_FS_ATTRIBUTE_INFORMATION")
	return err
}

// FsLabelInformation is FILE_FS_LABEL_INFORMATION ([MS-FSCC] 2.5.5).
type FsLabelInformation struct {
	VolumeLabel string
}

// Append appends the wire form.
func (x *FsLabelInformation) Append(dst []byte) []byte { return appendName(dst, x.VolumeLabel) }

// Decode reads the wire form.
func (x *FsLabelInformation) Decode(b []byte) error {
	var n NameInformation
	err := n.Decode(b)
	x.VolumeLabel = n.FileName
	return err
}

// FsDriverPathInformation is FILE_FS_DRIVER_PATH_INFORMATION ([MS-FSCC] 2.5.3).
type FsDriverPathInformation struct {
	DriverInPath bool
	DriverName   string
}

// Append appends the wire form.
func (x *FsDriverPathInformation) Append(dst []byte) []byte {
	dst = append(appendBool(dst, x.DriverInPath), 0, 0, 0)
	return appendName(dst, x.DriverName)
}

// Decode reads the wire form.
func (x *FsDriverPathInformation) Decode(b []byte) (err error) {
	if len(b) < 8 {
		return malformed("FILE_FS_DRIVER_PATH_INFORMATION")
	}
	x.DriverInPath = b[0] != 0
	x.DriverName, err = nameAt(b, 8, le.Uint32(b[4:]), "FILE_FS_DRIVER_PATH_INFORMATION")
	return err
}
