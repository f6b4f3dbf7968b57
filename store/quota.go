package store

// Quotas is what a Volume may offer besides: limits on folders. A folder with a limit is charged
// what the files below it say they allocate (Sizes.Allocated of their streams): the nominal size,
// as NTFS charges sparse files. What was cloned counts for each file that has it, what only
// snapshots keep does not. A change that would exceed a limit fails with ErrNoSpace; one that
// adds nothing never does. A name cannot go from a folder with a limit to outside of it, or
// the other way (ErrQuotaBorder).
type Quotas interface {
	// SetQuota limits a folder to so many bytes, or changes that; 0 ends it. It counts what is
	// there, which takes a while, and is not remembered over a restart. ErrQuotaBorder: a file
	// has names inside and outside of it.
	SetQuota(dir FileID, limit int64) error
	// Quota returns what counts for a folder: of the limits on it and above it, the one
	// that leaves least. ok is false where there is none.
	Quota(dir FileID) (used, limit int64, ok bool)
}
