package fscc

// FILE_ATTRIBUTE_* ([MS-FSCC] 2.6).
const (
	FileAttributeReadonly           = 0x00000001
	FileAttributeHidden             = 0x00000002
	FileAttributeSystem             = 0x00000004
	FileAttributeDirectory          = 0x00000010
	FileAttributeArchive            = 0x00000020
	FileAttributeNormal             = 0x00000080
	FileAttributeTemporary          = 0x00000100
	FileAttributeSparseFile         = 0x00000200
	FileAttributeReparsePoint       = 0x00000400
	FileAttributeCompressed         = 0x00000800
	FileAttributeOffline            = 0x00001000
	FileAttributeNotContentIndexed  = 0x00002000
	FileAttributeEncrypted          = 0x00004000
	FileAttributeIntegrityStream    = 0x00008000
	FileAttributeNoScrubData        = 0x00020000
	FileAttributeRecallOnOpen       = 0x00040000
	FileAttributePinned             = 0x00080000
	FileAttributeUnpinned           = 0x00100000
	FileAttributeRecallOnDataAccess = 0x00400000

	// FileAttributesValid are the bits a CREATE may carry
	// ([MS-FSA] 2.1.5.1: others are STATUS_INVALID_PARAMETER).
	FileAttributesValid = 0x005EFFB7
	// FileAttributesSettable are those a client may set; the file system
	// keeps the others itself ([MS-FSA] 2.1.5.15.2).
	FileAttributesSettable = FileAttributeReadonly | FileAttributeHidden | FileAttributeSystem |
		FileAttributeArchive | FileAttributeTemporary | FileAttributeOffline |
		FileAttributeNotContentIndexed | FileAttributeNoScrubData | FileAttributePinned | FileAttributeUnpinned
)

// Share access of a CREATE ([MS-SMB2] 2.2.13).
const (
	FileShareRead   = 0x1
	FileShareWrite  = 0x2
	FileShareDelete = 0x4
	FileShareAll    = FileShareRead | FileShareWrite | FileShareDelete
)

// Create dispositions ([MS-SMB2] 2.2.13).
const (
	FileSupersede   = 0
	FileOpen        = 1
	FileCreate      = 2
	FileOpenIf      = 3
	FileOverwrite   = 4
	FileOverwriteIf = 5
)

// Create actions ([MS-SMB2] 2.2.14).
const (
	FileSuperseded  = 0
	FileOpened      = 1
	FileCreated     = 2
	FileOverwritten = 3
)

// Create options ([MS-SMB2] 2.2.13).
const (
	FileDirectoryFile           = 0x00000001
	FileWriteThrough            = 0x00000002
	FileSequentialOnly          = 0x00000004
	FileNoIntermediateBuffering = 0x00000008
	FileSynchronousIOAlert      = 0x00000010
	FileSynchronousIONonalert   = 0x00000020
	FileNonDirectoryFile        = 0x00000040
	FileCreateTreeConnection    = 0x00000080
	FileCompleteIfOplocked      = 0x00000100
	FileNoEAKnowledge           = 0x00000200
	FileOpenRemoteInstance      = 0x00000400
	FileRandomAccess            = 0x00000800
	FileDeleteOnClose           = 0x00001000
	FileOpenByFileID            = 0x00002000
	FileOpenForBackupIntent     = 0x00004000
	FileNoCompression           = 0x00008000
	FileOpenRequiringOplock     = 0x00010000
	FileDisallowExclusive       = 0x00020000
	FileReserveOpfilter         = 0x00100000
	FileOpenReparsePoint        = 0x00200000
	FileOpenNoRecall            = 0x00400000
	FileOpenForFreeSpaceQuery   = 0x00800000

	// FileModeMask are the options that FileModeInformation shows.
	FileModeMask = FileWriteThrough | FileSequentialOnly | FileNoIntermediateBuffering |
		FileSynchronousIOAlert | FileSynchronousIONonalert | FileDeleteOnClose
)

// Impersonation levels ([MS-SMB2] 2.2.13).
const (
	ImpersonationAnonymous      = 0
	ImpersonationIdentification = 1
	ImpersonationImpersonation  = 2
	ImpersonationDelegate       = 3
)

// FileDispositionInformationEx flags ([MS-FSCC] 2.4.12).
const (
	DispositionDelete                  = 0x01
	DispositionPosixSemantics          = 0x02
	DispositionForceImageSectionCheck  = 0x04
	DispositionOnClose                 = 0x08
	DispositionIgnoreReadonlyAttribute = 0x10
)

// FileRenameInformationEx flags ([MS-FSCC] 2.4.43), and FileLinkInformationEx's.
const (
	RenameReplaceIfExists                   = 0x001
	RenamePosixSemantics                    = 0x002
	RenameSuppressPinStateInheritance       = 0x004
	RenameSuppressStorageReserveInheritance = 0x008
	RenameNoIncreaseAvailableSpace          = 0x010
	RenameNoDecreaseAvailableSpace          = 0x020
	RenameIgnoreReadonlyAttribute           = 0x040
	RenameForceResizeTargetSR               = 0x080
	RenameForceResizeSourceSR               = 0x100
)

// File-system attributes ([MS-FSCC] 2.5.1).
const (
	FsCaseSensitiveSearch        = 0x00000001
	FsCasePreservedNames         = 0x00000002
	FsUnicodeOnDisk              = 0x00000004
	FsPersistentACLs             = 0x00000008
	FsFileCompression            = 0x00000010
	FsVolumeQuotas               = 0x00000020
	FsSupportsSparseFiles        = 0x00000040
	FsSupportsReparsePoints      = 0x00000080
	FsSupportsRemoteStorage      = 0x00000100
	FsReturnsCleanupResultInfo   = 0x00000200
	FsSupportsPosixUnlinkRename  = 0x00000400
	FsVolumeIsCompressed         = 0x00008000
	FsSupportsObjectIDs          = 0x00010000
	FsSupportsEncryption         = 0x00020000
	FsNamedStreams               = 0x00040000
	FsReadOnlyVolume             = 0x00080000
	FsSequentialWriteOnce        = 0x00100000
	FsSupportsTransactions       = 0x00200000
	FsSupportsHardLinks          = 0x00400000
	FsSupportsExtendedAttributes = 0x00800000
	FsSupportsOpenByFileID       = 0x01000000
	FsSupportsUSNJournal         = 0x02000000
	FsSupportIntegrityStreams    = 0x04000000
	FsSupportsBlockRefcounting   = 0x08000000
	FsSupportsSparseVDL          = 0x10000000
)

// Sector-size flags and the "unknown" offset ([MS-FSCC] 2.5.7).
const (
	SectorAlignedDevice            = 0x1
	SectorPartitionAlignedOnDevice = 0x2
	SectorNoSeekPenalty            = 0x4
	SectorTrimEnabled              = 0x8
	SectorOffsetUnknown            = 0xFFFFFFFF
)

// Device types and characteristics ([MS-FSCC] 2.5.10).
const (
	DeviceCDROM             = 0x02
	DeviceDisk              = 0x07
	RemovableMedia          = 0x01
	ReadOnlyDevice          = 0x02
	RemoteDevice            = 0x10
	DeviceIsMounted         = 0x20
	DeviceAllowAppContainer = 0x20000
)

// FileFsControlInformation flags ([MS-FSCC] 2.5.2).
const (
	VCQuotaNone           = 0x000
	VCQuotaTrack          = 0x001
	VCQuotaEnforce        = 0x002
	VCContentIndexDisable = 0x008
	VCLogQuotaThreshold   = 0x010
	VCLogQuotaLimit       = 0x020
	VCQuotasIncomplete    = 0x100
	VCQuotasRebuilding    = 0x200
)

// Named pipes ([MS-FSCC] 2.4.37, 2.4.38).
const (
	PipeByteStreamMode    = 0
	PipeMessageMode       = 1
	PipeQueueOperation    = 0
	PipeCompleteOperation = 1
	PipeByteStreamType    = 0
	PipeMessageType       = 1
	PipeInbound           = 0
	PipeOutbound          = 1
	PipeFullDuplex        = 2
	PipeDisconnectedState = 1
	PipeListeningState    = 2
	PipeConnectedState    = 3
	PipeClosingState      = 4
	PipeClientEnd         = 0
	PipeServerEnd         = 1
)

// Actions of a change notification ([MS-FSCC] 2.7.1).
const (
	ActionAdded                = 1
	ActionRemoved              = 2
	ActionModified             = 3
	ActionRenamedOldName       = 4
	ActionRenamedNewName       = 5
	ActionAddedStream          = 6
	ActionRemovedStream        = 7
	ActionModifiedStream       = 8
	ActionRemovedByDelete      = 9
	ActionIDNotTunnelled       = 10
	ActionTunnelledIDCollision = 11
)

// Completion filter of a change notification ([MS-SMB2] 2.2.35).
const (
	NotifyChangeFileName    = 0x001
	NotifyChangeDirName     = 0x002
	NotifyChangeAttributes  = 0x004
	NotifyChangeSize        = 0x008
	NotifyChangeLastWrite   = 0x010
	NotifyChangeLastAccess  = 0x020
	NotifyChangeCreation    = 0x040
	NotifyChangeEA          = 0x080
	NotifyChangeSecurity    = 0x100
	NotifyChangeStreamName  = 0x200
	NotifyChangeStreamSize  = 0x400
	NotifyChangeStreamWrite = 0x800
	NotifyChangeAll         = 0xFFF
)

// Compression formats ([MS-FSCC] 2.3.67).
const (
	CompressionFormatNone    = 0
	CompressionFormatDefault = 1
	CompressionFormatLZNT1   = 2
)

// Integrity ([MS-FSCC] 2.3.20, 2.3.73, 2.3.75).
const (
	ChecksumTypeNone       = 0
	ChecksumTypeCRC32      = 1
	ChecksumTypeCRC64      = 2
	ChecksumTypeUnchanged  = 0xFFFF
	ChecksumEnforcementOff = 1
)

// Usage of FSCTL_QUERY_FILE_REGIONS ([MS-FSCC] 2.3.55).
const (
	FileUsageValidCachedData    = 1
	FileUsageValidNoncachedData = 2
)

// DuplicateExtentsSourceAtomic is the one flag of DuplicateExtentsDataEx
// ([MS-FSCC] 2.3.9.2).
const DuplicateExtentsSourceAtomic = 1

// OffloadReadAllZeroBeyondCurrentRange is the one flag of FSCTL_OFFLOAD_READ's
// output ([MS-FSCC] 2.3.42).
const OffloadReadAllZeroBeyondCurrentRange = 1

// CaseSensitiveDirectory is FILE_CS_FLAG_CASE_SENSITIVE_DIR.
const CaseSensitiveDirectory = 1

// AlignmentByte is FILE_BYTE_ALIGNMENT ([MS-FSCC] 2.4.3).
const AlignmentByte = 0

// Reparse tags that a file server or its clients look at ([MS-FSCC] 2.1.2.1).
const (
	ReparseTagReservedZero = 0x00000000
	ReparseTagReservedOne  = 0x00000001
	ReparseTagReservedTwo  = 0x00000002
	ReparseTagMountPoint   = 0xA0000003
	ReparseTagSIS          = 0x80000007
	ReparseTagDFS          = 0x8000000A
	ReparseTagSymlink      = 0xA000000C
	ReparseTagDFSR         = 0x80000012
	ReparseTagDedup        = 0x80000013
	ReparseTagNFS          = 0x80000014
	ReparseTagWOF          = 0x80000017
	ReparseTagCloud        = 0x9000001A
	ReparseTagAppExecLink  = 0x8000001B
	ReparseTagLXSymlink    = 0xA000001D
	ReparseTagAFUnix       = 0x80000023
	ReparseTagLXFifo       = 0x80000024
	ReparseTagLXChr        = 0x80000025
	ReparseTagLXBlk        = 0x80000026

	reparseTagMicrosoft = 0x80000000
	reparseTagSurrogate = 0x20000000
)
