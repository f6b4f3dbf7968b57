package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// DirQuery is one QUERY_DIRECTORY ([MS-FSA] 2.1.5.6.3).
type DirQuery struct {
	Pattern string // "" on a continued scan means the first query's pattern
	Restart bool   // SMB2_RESTART_SCANS
	Reopen  bool   // SMB2_REOPEN: also take the new pattern
	Single  bool   // SMB2_RETURN_SINGLE_ENTRY
}

// DirEntry is one entry: FileAttributes as clients see them; "." and ".." first.
type DirEntry struct{ store.Entry }

// ReadDir calls emit for each further entry that matches, until it returns
// false, which means "did not fit": that entry comes again with the next query.
// STATUS_NO_SUCH_FILE when nothing matched at all, STATUS_NO_MORE_FILES at the end;
// success when at least one entry was taken. When the first did not fit the status is
// STATUS_SUCCESS with nothing taken: the caller answers STATUS_INFO_LENGTH_MISMATCH or STATUS_BUFFER_OVERFLOW.
func (o *Open) ReadDir(q DirQuery, emit func(*DirEntry) bool) ntstatus.Status {
	return ntstatus.NotImplemented
}
