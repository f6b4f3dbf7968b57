package fscc

import "fmt"

// FileInformationClass numbers a file information class ([MS-FSCC] 2.4).
type FileInformationClass uint8

const (
	FileDirectoryInformation              FileInformationClass = 1
	FileFullDirectoryInformation          FileInformationClass = 2
	FileBothDirectoryInformation          FileInformationClass = 3
	FileBasicInformation                  FileInformationClass = 4
	FileStandardInformation               FileInformationClass = 5
	FileInternalInformation               FileInformationClass = 6
	FileEaInformation                     FileInformationClass = 7
	FileAccessInformation                 FileInformationClass = 8
	FileNameInformation                   FileInformationClass = 9
	FileRenameInformation                 FileInformationClass = 10
	FileLinkInformation                   FileInformationClass = 11
	FileNamesInformation                  FileInformationClass = 12
	FileDispositionInformation            FileInformationClass = 13
	FilePositionInformation               FileInformationClass = 14
	FileFullEaInformation                 FileInformationClass = 15
	FileModeInformation                   FileInformationClass = 16
	FileAlignmentInformation              FileInformationClass = 17
	FileAllInformation                    FileInformationClass = 18
	FileAllocationInformation             FileInformationClass = 19
	FileEndOfFileInformation              FileInformationClass = 20
	FileAlternateNameInformation          FileInformationClass = 21
	FileStreamInformation                 FileInformationClass = 22
	FilePipeInformation                   FileInformationClass = 23
	FilePipeLocalInformation              FileInformationClass = 24
	FilePipeRemoteInformation             FileInformationClass = 25
	FileMailslotQueryInformation          FileInformationClass = 26
	FileMailslotSetInformation            FileInformationClass = 27
	FileCompressionInformation            FileInformationClass = 28
	FileObjectIDInformation               FileInformationClass = 29
	FileMoveClusterInformation            FileInformationClass = 31
	FileQuotaInformation                  FileInformationClass = 32
	FileReparsePointInformation           FileInformationClass = 33
	FileNetworkOpenInformation            FileInformationClass = 34
	FileAttributeTagInformation           FileInformationClass = 35
	FileTrackingInformation               FileInformationClass = 36
	FileIDBothDirectoryInformation        FileInformationClass = 37
	FileIDFullDirectoryInformation        FileInformationClass = 38
	FileValidDataLengthInformation        FileInformationClass = 39
	FileShortNameInformation              FileInformationClass = 40
	FileSfioReserveInformation            FileInformationClass = 44
	FileHardLinkInformation               FileInformationClass = 46
	FileNormalizedNameInformation         FileInformationClass = 48
	FileIDGlobalTxDirectoryInformation    FileInformationClass = 50
	FileStandardLinkInformation           FileInformationClass = 54
	FileIDInformation                     FileInformationClass = 59
	FileIDExtdDirectoryInformation        FileInformationClass = 60
	FileDispositionInformationEx          FileInformationClass = 64
	FileRenameInformationEx               FileInformationClass = 65
	FileStatInformation                   FileInformationClass = 68
	FileCaseSensitiveInformation          FileInformationClass = 71
	FileLinkInformationEx                 FileInformationClass = 72
	FileID64ExtdDirectoryInformation      FileInformationClass = 78
	FileID64ExtdBothDirectoryInformation  FileInformationClass = 79
	FileIDAllExtdDirectoryInformation     FileInformationClass = 80
	FileIDAllExtdBothDirectoryInformation FileInformationClass = 81
)

// ClassUse says how a class may be used over the network.
type ClassUse uint8

const (
	ClassQuery     ClassUse = 1 << iota // QUERY_INFO
	ClassSet                            // SET_INFO
	ClassDirectory                      // QUERY_DIRECTORY
)

// classInfo is a row of the table in [MS-FSCC] 2.4.
type classInfo struct {
	class FileInformationClass
	name  string
	use   ClassUse
	// size is what a buffer must at least hold: the whole structure when it is
	// fixed, the part before the variable one (rounded as a C compiler does)
	// when it is not.
	size int
}

var classes = [...]classInfo{
	{FileDirectoryInformation, "FileDirectoryInformation", ClassDirectory, 64},
	{FileFullDirectoryInformation, "FileFullDirectoryInformation", ClassDirectory, 68},
	{FileBothDirectoryInformation, "FileBothDirectoryInformation", ClassDirectory, 94},
	{FileBasicInformation, "FileBasicInformation", ClassQuery | ClassSet, BasicInformationSize},
	{FileStandardInformation, "FileStandardInformation", ClassQuery, StandardInformationSize},
	{FileInternalInformation, "FileInternalInformation", ClassQuery, InternalInformationSize},
	{FileEaInformation, "FileEaInformation", ClassQuery, EaInformationSize},
	{FileAccessInformation, "FileAccessInformation", ClassQuery, AccessInformationSize},
	{FileNameInformation, "FileNameInformation", 0, 8},
	{FileRenameInformation, "FileRenameInformation", ClassSet, 24},
	{FileLinkInformation, "FileLinkInformation", ClassSet, 24},
	{FileNamesInformation, "FileNamesInformation", ClassDirectory, 12},
	{FileDispositionInformation, "FileDispositionInformation", ClassSet, DispositionInformationSize},
	{FilePositionInformation, "FilePositionInformation", ClassQuery | ClassSet, PositionInformationSize},
	{FileFullEaInformation, "FileFullEaInformation", ClassQuery | ClassSet, 0},
	{FileModeInformation, "FileModeInformation", ClassQuery | ClassSet, ModeInformationSize},
	{FileAlignmentInformation, "FileAlignmentInformation", ClassQuery, AlignmentInformationSize},
	{FileAllInformation, "FileAllInformation", ClassQuery, 104},
	{FileAllocationInformation, "FileAllocationInformation", ClassSet, AllocationInformationSize},
	{FileEndOfFileInformation, "FileEndOfFileInformation", ClassSet, EndOfFileInformationSize},
	{FileAlternateNameInformation, "FileAlternateNameInformation", ClassQuery, 8},
	{FileStreamInformation, "FileStreamInformation", ClassQuery, 32},
	{FilePipeInformation, "FilePipeInformation", ClassQuery | ClassSet, PipeInformationSize},
	{FilePipeLocalInformation, "FilePipeLocalInformation", ClassQuery, PipeLocalInformationSize},
	{FilePipeRemoteInformation, "FilePipeRemoteInformation", ClassQuery, 16},
	{FileMailslotQueryInformation, "FileMailslotQueryInformation", 0, 24},
	{FileMailslotSetInformation, "FileMailslotSetInformation", 0, 8},
	{FileCompressionInformation, "FileCompressionInformation", ClassQuery, CompressionInformationSize},
	{FileObjectIDInformation, "FileObjectIdInformation", 0, ObjectIDInformationSize},
	{FileMoveClusterInformation, "FileMoveClusterInformation", 0, 0},
	{FileQuotaInformation, "FileQuotaInformation", ClassQuery | ClassSet, 40},
	{FileReparsePointInformation, "FileReparsePointInformation", 0, 16},
	{FileNetworkOpenInformation, "FileNetworkOpenInformation", ClassQuery, NetworkOpenInformationSize},
	{FileAttributeTagInformation, "FileAttributeTagInformation", ClassQuery, AttributeTagInformationSize},
	{FileTrackingInformation, "FileTrackingInformation", 0, 0},
	{FileIDBothDirectoryInformation, "FileIdBothDirectoryInformation", ClassDirectory, 104},
	{FileIDFullDirectoryInformation, "FileIdFullDirectoryInformation", ClassDirectory, 80},
	{FileValidDataLengthInformation, "FileValidDataLengthInformation", ClassSet, ValidDataLengthInformationSize},
	{FileShortNameInformation, "FileShortNameInformation", ClassSet, 8},
	{FileSfioReserveInformation, "FileSfioReserveInformation", 0, 0},
	{FileHardLinkInformation, "FileHardLinkInformation", 0, 8},
	{FileNormalizedNameInformation, "FileNormalizedNameInformation", ClassQuery, 8},
	{FileIDGlobalTxDirectoryInformation, "FileIdGlobalTxDirectoryInformation", 0, 92},
	{FileStandardLinkInformation, "FileStandardLinkInformation", 0, StandardLinkInformationSize},
	{FileIDInformation, "FileIdInformation", ClassQuery, IdInformationSize},
	{FileIDExtdDirectoryInformation, "FileIdExtdDirectoryInformation", ClassDirectory, 88},
	{FileDispositionInformationEx, "FileDispositionInformationEx", ClassSet, DispositionInformationExSize},
	{FileRenameInformationEx, "FileRenameInformationEx", ClassSet, 24},
	{FileStatInformation, "FileStatInformation", 0, StatInformationSize},
	{FileCaseSensitiveInformation, "FileCaseSensitiveInformation", 0, CaseSensitiveInformationSize},
	{FileLinkInformationEx, "FileLinkInformationEx", ClassSet, 24},
	{FileID64ExtdDirectoryInformation, "FileId64ExtdDirectoryInformation", ClassDirectory, 80},
	{FileID64ExtdBothDirectoryInformation, "FileId64ExtdBothDirectoryInformation", ClassDirectory, 106},
	{FileIDAllExtdDirectoryInformation, "FileIdAllExtdDirectoryInformation", ClassDirectory, 96},
	{FileIDAllExtdBothDirectoryInformation, "FileIdAllExtdBothDirectoryInformation", ClassDirectory, 122},
}

// byClass finds the row of a class: classes[byClass[c]-1].
var byClass = func() (t [256]uint8) {
	for i, c := range classes {
		t[c.class] = uint8(i + 1)
	}
	return t
}()

func (c FileInformationClass) info() *classInfo {
	if i := byClass[c]; i != 0 {
		return &classes[i-1]
	}
	return nil
}

// Use returns how the class may be used over the network; 0 for a class that is
// unknown or local only, to be refused with STATUS_INVALID_INFO_CLASS.
func (c FileInformationClass) Use() ClassUse {
	if i := c.info(); i != nil {
		return i.use
	}
	return 0
}

// Known reports whether the document lists the class.
func (c FileInformationClass) Known() bool { return c.info() != nil }

// MinSize is the smallest buffer the class accepts; a smaller one is
// STATUS_INFO_LENGTH_MISMATCH.
func (c FileInformationClass) MinSize() int {
	if i := c.info(); i != nil {
		return i.size
	}
	return 0
}

func (c FileInformationClass) String() string {
	if i := c.info(); i != nil {
		return i.name
	}
	return fmt.Sprintf("FileInformationClass(%d)", uint8(c))
}

// FsInformationClass numbers a file-system information class ([MS-FSCC] 2.5).
type FsInformationClass uint8

const (
	FileFsVolumeInformation      FsInformationClass = 1
	FileFsLabelInformation       FsInformationClass = 2
	FileFsSizeInformation        FsInformationClass = 3
	FileFsDeviceInformation      FsInformationClass = 4
	FileFsAttributeInformation   FsInformationClass = 5
	FileFsControlInformation     FsInformationClass = 6
	FileFsFullSizeInformation    FsInformationClass = 7
	FileFsObjectIDInformation    FsInformationClass = 8
	FileFsDriverPathInformation  FsInformationClass = 9
	FileFsVolumeFlagsInformation FsInformationClass = 10
	FileFsSectorSizeInformation  FsInformationClass = 11
)

var fsClasses = [...]struct {
	name string
	use  ClassUse
	size int
}{
	{},
	{"FileFsVolumeInformation", ClassQuery, 24},
	{"FileFsLabelInformation", 0, 8},
	{"FileFsSizeInformation", ClassQuery, FsSizeInformationSize},
	{"FileFsDeviceInformation", ClassQuery, FsDeviceInformationSize},
	{"FileFsAttributeInformation", ClassQuery, 16},
	{"FileFsControlInformation", ClassQuery | ClassSet, FsControlInformationSize},
	{"FileFsFullSizeInformation", ClassQuery, FsFullSizeInformationSize},
	{"FileFsObjectIdInformation", ClassQuery | ClassSet, FsObjectIDInformationSize},
	{"FileFsDriverPathInformation", 0, 12},
	{"FileFsVolumeFlagsInformation", 0, 0},
	{"FileFsSectorSizeInformation", ClassQuery, FsSectorSizeInformationSize},
}

// Use returns how the class may be used over the network.
func (c FsInformationClass) Use() ClassUse {
	if int(c) < len(fsClasses) {
		return fsClasses[c].use
	}
	return 0
}

// MinSize is the smallest buffer the class accepts.
func (c FsInformationClass) MinSize() int {
	if int(c) < len(fsClasses) {
		return fsClasses[c].size
	}
	return 0
}

func (c FsInformationClass) String() string {
	if c > 0 && int(c) < len(fsClasses) {
		return fsClasses[c].name
	}
	return fmt.Sprintf("FsInformationClass(%d)", uint8(c))
}
