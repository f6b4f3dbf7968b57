package fsrvp

import (
	"fmt"

	"gabion/protocol/dcerpc"
)

// Syntax is the interface's UUID and version (MS-FSRVP 1.9; its 2.1 calls the version 3.0,
// which no peer does).
var Syntax = dcerpc.MustSyntax("a8e0653c-2744-4389-a61d-7373df8b2292", 1, 0)

// Pipe is the endpoint's name (MS-FSRVP 2.1).
const Pipe = "fssagentrpc"

// Version is the only version of the protocol (MS-FSRVP 3.1.1.1).
const Version = 1

// Operation numbers (MS-FSRVP 3.1.4).
const (
	OpGetSupportedVersion = iota
	OpSetContext
	OpStartShadowCopySet
	OpAddToShadowCopySet
	OpCommitShadowCopySet
	OpExposeShadowCopySet
	OpRecoveryCompleteShadowCopySet
	OpAbortShadowCopySet
	OpIsPathSupported
	OpIsPathShadowCopied
	OpGetShareMapping
	OpDeleteShareMapping
	OpPrepareShadowCopySet
)

// Context is a CONTEXT_VALUES with its attribute bits (MS-FSRVP 2.2.2.1, 2.2.2.2).
type Context uint32

const (
	AttrPersistent     Context = 0x00000001
	AttrNoAutoRecovery Context = 0x00000002
	AttrNoAutoRelease  Context = 0x00000008
	AttrNoWriters      Context = 0x00000010
	AttrAutoRecovery   Context = 0x00400000
	// AttrFileShare marks shadow copies of shares; not in the document, but peers send it.
	AttrFileShare Context = 0x04000000

	CtxBackup          Context = 0
	CtxFileShareBackup         = AttrNoWriters
	CtxNASRollback             = AttrPersistent | AttrNoAutoRelease | AttrNoWriters
	CtxAppRollback             = AttrPersistent | AttrNoAutoRelease
)

// Valid says whether a client may set c (MS-FSRVP 2.2.2.2): one of the four contexts, with
// at most one of the recovery bits.
func (c Context) Valid() bool {
	const recovery = AttrAutoRecovery | AttrNoAutoRecovery
	switch c &^ (recovery | AttrFileShare) {
	case CtxBackup, CtxFileShareBackup, CtxNASRollback, CtxAppRollback:
		return c&recovery != recovery
	}
	return false
}

// AutoRecovery: the exposed shares can be written until the recovery is complete.
func (c Context) AutoRecovery() bool { return c&AttrAutoRecovery != 0 }

// AutoRelease: the shadow copies go with the backup that made them.
func (c Context) AutoRelease() bool { return c&AttrNoAutoRelease == 0 }

// Result is what every method returns (MS-FSRVP 2.2.4).
type Result uint32

const (
	OK                      Result = 0
	WaitTimeout             Result = 0x00000102
	WaitFailed              Result = 0xFFFFFFFF
	BadState                Result = 0x80042301
	ObjectNotFound          Result = 0x80042308
	NotSupported            Result = 0x8004230C
	ObjectAlreadyExists     Result = 0x8004230D
	ShadowCopySetInProgress Result = 0x80042316
	UnsupportedContext      Result = 0x8004231B
	CommitTimeout           Result = 0x80042500
	ShadowCopySetIDMismatch Result = 0x80042501
	Fail                    Result = 0x80004005
	AccessDenied            Result = 0x80070005
	OutOfMemory             Result = 0x8007000E
	InvalidArgument         Result = 0x80070057
)

var resultNames = map[Result]string{
	OK: "ZERO", WaitTimeout: "FSRVP_E_WAIT_TIMEOUT", WaitFailed: "FSRVP_E_WAIT_FAILED", BadState: "FSRVP_E_BAD_STATE",
	ObjectNotFound: "FSRVP_E_OBJECT_NOT_FOUND", NotSupported: "FSRVP_E_NOT_SUPPORTED",
	ObjectAlreadyExists: "FSRVP_E_OBJECT_ALREADY_EXISTS", ShadowCopySetInProgress: "FSRVP_E_SHADOW_COPY_SET_IN_PROGRESS",
	UnsupportedContext: "FSRVP_E_UNSUPPORTED_CONTEXT", CommitTimeout: "FSSAGENT_E_TIMEOUT",
	ShadowCopySetIDMismatch: "FSRVP_E_SHADOWCOPYSET_ID_MISMATCH", Fail: "E_FAIL", AccessDenied: "E_ACCESSDENIED",
	OutOfMemory: "E_OUTOFMEMORY", InvalidArgument: "E_INVALIDARG",
}

func (r Result) String() string {
	if s, ok := resultNames[r]; ok {
		return s
	}
	return fmt.Sprintf("HRESULT %#08x", uint32(r))
}
