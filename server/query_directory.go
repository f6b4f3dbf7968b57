package server

import (
	"encoding/binary"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// maxListing bounds one QUERY_DIRECTORY reply, whatever the client would take: a
// listing is asked for again and again until it ends.
const maxListing = 1 << 20

// queryDirectory answers QUERY_DIRECTORY [MS-SMB2] 3.3.5.18.
func queryDirectory(r *request) {
	var req smb2.QueryDirectoryRequest
	f := r.file()
	if err := req.Decode(r.msg); err != nil || f == nil || len(req.FileName)%2 != 0 {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	class := fscc.FileInformationClass(req.FileInformationClass)
	if status := r.validateListing(&req, class, f); status != ntstatus.Success {
		r.fail(status)
		return
	}
	limit := min(int(req.OutputBufferLength), maxListing)
	body := r.reserve(smb2.OutputBufferFixed + limit)
	list, _ := fscc.NewDirectoryList(body[:smb2.OutputBufferFixed], limit, class)
	var entry fscc.DirectoryEntry
	status := f.obj.ReadDir(object.DirQuery{
		Pattern: dtyp.DecodeUTF16(req.FileName),
		Restart: req.Flags&smb2.QueryDirectoryRestartScans != 0,
		Reopen:  req.Flags&smb2.QueryDirectoryReopen != 0,
		Single:  req.Flags&smb2.QueryDirectoryReturnSingleEntry != 0,
	}, func(e *object.DirEntry) bool {
		setEntry(&entry, e)
		return list.Add(&entry)
	})
	switch {
	case status != ntstatus.Success:
		r.fail(status)
	case list.Len() == 0:
		// [MS-FSA] 2.1.5.6.3: the first entry did not fit.
		r.fail(ntstatus.InfoLengthMismatch)
	default:
		body = list.Bytes()
		smb2.PutOutputBuffer(body, uint32(list.Len()))
		r.finish(ntstatus.Success, body)
	}
}

// validateListing is the part of 3.3.5.18 that comes before the object store.
func (r *request) validateListing(req *smb2.QueryDirectoryRequest, class fscc.FileInformationClass, f *file) ntstatus.Status {
	switch {
	case !f.obj.IsDir() && req.Flags&smb2.QueryDirectoryReopen != 0:
		return ntstatus.NotSupported // note 406
	case !f.obj.IsDir():
		return ntstatus.InvalidParameter
	case req.OutputBufferLength > r.conn.maxIO:
		return ntstatus.InvalidParameter
	case !f.granted(dtyp.FileListDirectory):
		return ntstatus.AccessDenied
	case class.Use()&fscc.ClassDirectory == 0:
		return ntstatus.InvalidInfoClass
	case int(req.OutputBufferLength) < class.MinSize():
		return ntstatus.InfoLengthMismatch
	}
	return ntstatus.Success
}

// setEntry fills in what the directory classes show. FileIndex means nothing where entries
// have no fixed place: a listing is resumed where it stopped, not by number (note 410).
func setEntry(to *fscc.DirectoryEntry, e *object.DirEntry) {
	short := object.AppendShortName(to.ShortName[:0], e.Name)
	*to = fscc.DirectoryEntry{
		CreationTime:   e.CreationTime,
		LastAccessTime: e.LastAccessTime,
		LastWriteTime:  e.LastWriteTime,
		ChangeTime:     e.ChangeTime,
		EndOfFile:      e.Size,
		AllocationSize: e.Allocated,
		FileAttributes: e.FileAttributes,
		EaSize:         e.EASize,
		ReparseTag:     e.ReparseTag,
		FileID:         uint64(e.ID),
		FileIndex:      uint32(e.ID),
		ShortName:      short,
		Name:           e.Name,
	}
	binary.LittleEndian.PutUint64(to.FileID128[:], uint64(e.ID))
}
