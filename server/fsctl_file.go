package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/store"
)

// control is an FSCTL on a file on its way.
type control struct {
	r   *request
	f   *file
	req smb2.IoctlRequest
	waiting
}

// fileControl says how a control code for files is carried out.
type fileControl struct {
	code  fscc.FSCTL
	name  string
	run   func(*control)
	needs Capability
}

// fileControls are the codes that MS-SMB2 3.3.5.15 passes to the object store, and
// those of its own that concern files. All others get the status for a code that
// the file system does not know.
var fileControls = [...]fileControl{
	{fscc.FsctlSetSparse, "SET_SPARSE", (*control).setSparse, capCount},
	{fscc.FsctlSetZeroData, "SET_ZERO_DATA", (*control).zeroData, capCount},
	{fscc.FsctlQueryAllocatedRanges, "QUERY_ALLOCATED_RANGES", (*control).allocatedRanges, capCount},
	{fscc.FsctlQueryFileRegions, "QUERY_FILE_REGIONS", (*control).fileRegions, capCount},
	{fscc.FsctlFileLevelTrim, "FILE_LEVEL_TRIM", (*control).trim, capCount},

	{fscc.FsctlOffloadRead, "OFFLOAD_READ", (*control).offloadRead, CapOffload},
	{fscc.FsctlOffloadWrite, "OFFLOAD_WRITE", (*control).offloadWrite, CapOffload},
	{fscc.FsctlDuplicateExtentsToFile, "DUPLICATE_EXTENTS_TO_FILE", (*control).duplicateExtents, CapBlockRefcounting},
	{fscc.FsctlDuplicateExtentsToFileEx, "DUPLICATE_EXTENTS_TO_FILE_EX", (*control).duplicateExtentsEx, CapBlockRefcounting},
	{fscc.FsctlSrvRequestResumeKey, "SRV_REQUEST_RESUME_KEY", (*control).resumeKey, capCount},
	{fscc.FsctlSrvCopychunk, "SRV_COPYCHUNK", (*control).copychunk, capCount},
	{fscc.FsctlSrvCopychunkWrite, "SRV_COPYCHUNK_WRITE", (*control).copychunk, capCount},

	{fscc.FsctlSrvEnumerateSnapshots, "SRV_ENUMERATE_SNAPSHOTS", (*control).snapshots, capCount},
	{fscc.FsctlLMRRequestResiliency, "LMR_REQUEST_RESILIENCY", (*control).resiliency, CapResiliency},

	{fscc.FsctlGetCompression, "GET_COMPRESSION", (*control).getCompression, capCount},
	{fscc.FsctlSetCompression, "SET_COMPRESSION", (*control).setCompression, capCount},
	{fscc.FsctlGetIntegrityInformation, "GET_INTEGRITY_INFORMATION", (*control).getIntegrity, capCount},
	{fscc.FsctlSetIntegrityInformation, "SET_INTEGRITY_INFORMATION", (*control).setIntegrity, capCount},

	{fscc.FsctlCreateOrGetObjectID, "CREATE_OR_GET_OBJECT_ID", (*control).createOrGetObjectID, capCount},
	{fscc.FsctlGetObjectID, "GET_OBJECT_ID", (*control).getObjectID, capCount},
	{fscc.FsctlSetObjectID, "SET_OBJECT_ID", (*control).setObjectID, capCount},
	{fscc.FsctlSetObjectIDExtended, "SET_OBJECT_ID_EXTENDED", (*control).setObjectIDExtended, capCount},
	{fscc.FsctlDeleteObjectID, "DELETE_OBJECT_ID", (*control).deleteObjectID, capCount},
	{fscc.FsctlGetReparsePoint, "GET_REPARSE_POINT", (*control).getReparsePoint, capCount},
	{fscc.FsctlSetReparsePoint, "SET_REPARSE_POINT", (*control).setReparsePoint, capCount},
	{fscc.FsctlDeleteReparsePoint, "DELETE_REPARSE_POINT", (*control).deleteReparsePoint, capCount},
}

func init() {
	for i := range fileControls {
		c := &fileControls[i]
		addFSCTL(c.code, fsctl{c.name, c.handle, fsctlFile, c.needs})
	}
}

// handle checks the access that the code itself demands and runs it.
func (c *fileControl) handle(r *request, req *smb2.IoctlRequest) {
	f := r.file()
	if f == nil {
		r.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	// [MS-FSCC] 2.3: bits 14 and 15 of a file system's code say what the handle has to
	// allow.
	const fileSystemDevice, readAccess, writeAccess = 0x0009, 1 << 14, 1 << 15
	if c.code>>16 == fileSystemDevice {
		switch {
		case c.code&readAccess != 0 && !f.granted(dtyp.FileReadData),
			c.code&writeAccess != 0 && !f.granted(dtyp.FileWriteData):
			r.fail(ntstatus.AccessDenied)
			return
		}
	}
	c.run(&control{r: r, f: f, req: *req})
}

func (c *control) fail(status ntstatus.Status) { c.r.fail(status) }

// room is how much output the client takes.
func (c *control) room() int { return int(c.req.MaxOutputResponse) }

// ok answers with an output buffer; the caller has checked that there is room for it.
func (c *control) ok(output []byte) { c.r.respondIoctl(ntstatus.Success, &c.req, output) }

// fits answers with an output buffer that the client has to take as a whole.
func (c *control) fits(output []byte) {
	if len(output) > c.room() {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	c.ok(output)
}

// done ends a control without output when its change is durable.
func (c *control) done(pos store.Pos, status ntstatus.Status) {
	c.durable(pos, c.reason(status), nil)
}

// durable answers with an output buffer when a change is durable.
func (c *control) durable(pos store.Pos, status ntstatus.Status, output []byte) {
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	resp := smb2.IoctlResponse{CtlCode: c.req.CtlCode, FileID: c.r.ioctlFile(&c.req), Output: output}
	body := resp.AppendTo(c.r.reserve(smb2.IoctlResponseFixed + 8 + len(output)))
	c.r.durably(c.f.obj.Tree(), pos, ntstatus.Success, body)
}
