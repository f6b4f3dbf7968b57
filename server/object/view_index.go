package object

import (
	"strings"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// quotaIndex is the path under which NTFS shows the quota index, a view index file
// ([MS-FSA] 2.1.5.1 phase 7). Clients open it to ask for quotas.
const quotaIndex = `$Extend\$Quota:$Q:$INDEX_ALLOCATION`

// quotaIndexID is beyond every id a volume gives.
const quotaIndexID = ^store.FileID(0)

// isQuotaIndex reports whether the request names the quota index.
func (c *creation) isQuotaIndex() bool {
	return strings.EqualFold(c.req.Path, quotaIndex)
}

// openQuotaIndex opens it: for administrators, and to look only.
func (c *creation) openQuotaIndex(resume func()) (CreateResult, ntstatus.Status, *waiter) {
	if d := c.req.Disposition; d != dispOpen && d != dispOpenIf {
		return CreateResult{}, ntstatus.AccessDenied, nil
	}
	f := c.tree.vol.hold(viewIndex{view: c.view})
	dir := place{node: c.tree.root.node, path: strings.TrimSuffix(quotaIndex, ":$Q:$INDEX_ALLOCATION")}
	return c.existing(f, "", &dir, resume)
}

var viewIndexSecurity = func() []byte {
	const read = dtyp.FileGenericRead | dtyp.FileGenericWrite
	return (&dtyp.SecurityDescriptor{
		Control: dtyp.SelfRelative | dtyp.DACLPresent,
		Owner:   dtyp.BuiltinAdministrators,
		Group:   dtyp.LocalSystem,
		DACL: dtyp.NewACL(
			dtyp.ACE{Type: dtyp.AccessAllowed, Mask: read, SID: dtyp.BuiltinAdministrators},
			dtyp.ACE{Type: dtyp.AccessAllowed, Mask: read, SID: auth.System.User},
		),
	}).Encode()
}()

// viewIndex is a store.Node without contents.
type viewIndex struct{ view store.View }

func (n viewIndex) ID() store.FileID { return quotaIndexID }
func (n viewIndex) View() store.View { return n.view }
func (n viewIndex) IsDir() bool      { return true }
func (n viewIndex) Close()           {}

func (n viewIndex) Attr() (store.Attr, error) {
	return store.Attr{ID: quotaIndexID, Dir: true, FileAttributes: attrHidden | attrSystem | attrArchive, Links: 1}, nil
}

func (n viewIndex) Blob(k store.BlobKind) ([]byte, error) {
	if k == store.BlobSecurity {
		return viewIndexSecurity, nil
	}
	return nil, nil
}

func (n viewIndex) Update(store.Change) (store.Pos, error) { return 0, store.ErrReadOnly }
func (n viewIndex) Names() ([]store.LinkName, error)       { return nil, nil }
func (n viewIndex) Data() (store.Stream, error)            { return nil, store.ErrIsDir }
func (n viewIndex) Stream(string) (store.Stream, error)    { return nil, store.ErrNotFound }
func (n viewIndex) CreateStream(string) (store.Stream, store.Pos, error) {
	return nil, 0, store.ErrReadOnly
}
func (n viewIndex) RemoveStream(string) (store.Pos, error)               { return 0, store.ErrReadOnly }
func (n viewIndex) RenameStream(string, string, bool) (store.Pos, error) { return 0, store.ErrReadOnly }
func (n viewIndex) Streams() ([]store.StreamInfo, error)                 { return nil, nil }
