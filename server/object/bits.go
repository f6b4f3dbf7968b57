package object

// Access mask bits ([MS-SMB2] 2.2.13.1.1 and 2.2.13.1.2).
const (
	fileReadData        = 0x00000001 // FILE_LIST_DIRECTORY
	fileWriteData       = 0x00000002 // FILE_ADD_FILE
	fileAppendData      = 0x00000004 // FILE_ADD_SUBDIRECTORY
	fileReadEA          = 0x00000008
	fileWriteEA         = 0x00000010
	fileExecute         = 0x00000020 // FILE_TRAVERSE
	fileDeleteChild     = 0x00000040
	fileReadAttributes  = 0x00000080
	fileWriteAttributes = 0x00000100

	accessDelete         = 0x00010000
	accessReadControl    = 0x00020000
	accessWriteDAC       = 0x00040000
	accessWriteOwner     = 0x00080000
	accessSynchronize    = 0x00100000
	accessSystemSecurity = 0x01000000
	maximumAllowed       = 0x02000000
	genericAll           = 0x10000000
	genericExecute       = 0x20000000
	genericWrite         = 0x40000000
	genericRead          = 0x80000000

	fileListDirectory   = fileReadData
	fileAddFile         = fileWriteData
	fileAddSubdirectory = fileAppendData
	fileTraverse        = fileExecute

	fileAllAccess      = 0x001F01FF
	fileGenericRead    = fileReadData | fileReadEA | fileReadAttributes | accessReadControl | accessSynchronize
	fileGenericWrite   = fileWriteData | fileAppendData | fileWriteEA | fileWriteAttributes | accessReadControl | accessSynchronize
	fileGenericExecute = fileExecute | fileReadAttributes | accessReadControl | accessSynchronize

	// invalidAccess are the bits that fail an open ([MS-FSA] 2.1.5.1 phase 1).
	invalidAccess = 0x0CE0FE00
)

// Share access ([MS-SMB2] 2.2.13).
const (
	shareRead   = 1
	shareWrite  = 2
	shareDelete = 4
)

// Create dispositions ([MS-SMB2] 2.2.13).
const (
	dispSupersede   = 0
	dispOpen        = 1
	dispCreate      = 2
	dispOpenIf      = 3
	dispOverwrite   = 4
	dispOverwriteIf = 5
)

// Create actions ([MS-SMB2] 2.2.14).
const (
	ActionSuperseded  = 0
	ActionOpened      = 1
	ActionCreated     = 2
	ActionOverwritten = 3
)

// Create options ([MS-SMB2] 2.2.13).
const (
	optDirectoryFile          = 0x00000001
	optWriteThrough           = 0x00000002
	optSequentialOnly         = 0x00000004
	optNoIntermediateBuffer   = 0x00000008
	optSynchronousIOAlert     = 0x00000010
	optSynchronousIONonalert  = 0x00000020
	optNonDirectoryFile       = 0x00000040
	optCreateTreeConnection   = 0x00000080
	optCompleteIfOplocked     = 0x00000100
	optNoEAKnowledge          = 0x00000200
	optOpenRemoteInstance     = 0x00000400
	optRandomAccess           = 0x00000800
	optDeleteOnClose          = 0x00001000
	optOpenByFileID           = 0x00002000
	optOpenForBackupIntent    = 0x00004000
	optNoCompression          = 0x00008000
	optOpenRequiringOplock    = 0x00010000
	optDisallowExclusive      = 0x00020000
	optReserveOpfilter        = 0x00100000
	optOpenReparsePoint       = 0x00200000
	optOpenNoRecall           = 0x00400000
	optOpenForFreeSpaceQuery  = 0x00800000
	optModeMask               = optWriteThrough | optSequentialOnly | optNoIntermediateBuffer | optSynchronousIOAlert | optSynchronousIONonalert | optDeleteOnClose
	optValidDirectoryFileMask = optDirectoryFile | optSynchronousIOAlert | optSynchronousIONonalert | optWriteThrough | optOpenRemoteInstance |
		optCompleteIfOplocked | optOpenForBackupIntent | optDeleteOnClose | optOpenForFreeSpaceQuery | optOpenByFileID |
		optNoCompression | optOpenReparsePoint | optOpenRequiringOplock
)

// File attributes ([MS-FSCC] 2.6).
const (
	attrReadonly          = 0x00000001
	attrHidden            = 0x00000002
	attrSystem            = 0x00000004
	attrDirectory         = 0x00000010
	attrArchive           = 0x00000020
	attrNormal            = 0x00000080
	attrTemporary         = 0x00000100
	attrSparse            = 0x00000200
	attrReparsePoint      = 0x00000400
	attrCompressed        = 0x00000800
	attrOffline           = 0x00001000
	attrNotContentIndexed = 0x00002000
	attrEncrypted         = 0x00004000
	attrIntegrityStream   = 0x00008000
	attrNoScrubData       = 0x00020000

	// attrSettable are those that applications may set ([MS-FSA] 2.1.5.1.1).
	attrSettable = attrReadonly | attrHidden | attrSystem | attrArchive | attrTemporary | attrOffline | attrNotContentIndexed
)

// Change notification filters ([MS-SMB2] 2.2.35).
const (
	notifyFileName     = 0x001
	notifyDirName      = 0x002
	notifyAttributes   = 0x004
	notifySize         = 0x008
	notifyLastWrite    = 0x010
	notifyLastAccess   = 0x020
	notifyCreation     = 0x040
	notifyEA           = 0x080
	notifySecurity     = 0x100
	notifyStreamName   = 0x200
	notifyStreamSize   = 0x400
	notifyStreamWrite  = 0x800
	notifyEverything   = 0xFFF
	notifyStreamAny    = notifyStreamName | notifyStreamSize | notifyStreamWrite
	notifyAnyName      = notifyFileName | notifyDirName
	notifyDataModified = notifySize | notifyLastWrite | notifyAttributes
)
