package object

import (
	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// defaultSecurity is what a file without a stored security descriptor has: the
// root of a new volume.
var defaultSecurity = auth.RootSecurity()

// security returns the file's security descriptor; the caller must not change it.
func (f *File) security() (*dtyp.SecurityDescriptor, error) {
	if sd := f.sd.Load(); sd != nil {
		return sd, nil
	}
	sd, err := nodeSecurity(f.node)
	if err == nil {
		f.sd.Store(sd)
	}
	return sd, err
}

// nodeSecurity reads a security descriptor from the store.
func nodeSecurity(n store.Node) (*dtyp.SecurityDescriptor, error) {
	b, err := n.Blob(store.BlobSecurity)
	if err != nil {
		return nil, err
	}
	if b == nil {
		return defaultSecurity, nil
	}
	return dtyp.DecodeSecurityDescriptor(b)
}

// mapGeneric replaces generic rights by the file's ([MS-SMB2] 2.2.13.1).
func mapGeneric(access uint32) uint32 { return uint32(dtyp.AccessMask(access).MapFileGeneric()) }

// authorise is [MS-FSA] 2.1.5.1.2.1 up to the sharing checks: it moves rights
// from remaining to granted. parent gives the security descriptor of the directory by which the file was reached.
func (c *creation) authorise(f *File, attrs uint32, parent func() (*dtyp.SecurityDescriptor, error)) ntstatus.Status {
	readonly := attrs&attrReadonly != 0
	if readonly && !f.dir && c.desired&(fileWriteData|fileAppendData) != 0 {
		return ntstatus.AccessDenied
	}
	if (readonly || c.readonly()) && c.req.Options&optDeleteOnClose != 0 {
		return ntstatus.CannotDelete
	}
	if c.remaining == 0 {
		return ntstatus.Success
	}
	sd, err := f.security()
	if err != nil {
		return c.fs().statusOf(err)
	}
	maximal := c.remaining&maximumAllowed != 0
	if maximal {
		c.granted |= uint32(c.req.Token.Maximal(sd))
		if readonly && !f.dir || c.readonly() {
			c.granted &^= fileWriteData | fileAppendData | fileDeleteChild
		}
	}
	want := c.remaining &^ (maximumAllowed | c.granted)
	if want&accessSystemSecurity != 0 && !hasPrivilege(c.req.Token, privSecurity) {
		return ntstatus.PrivilegeNotHeld
	}
	got := granted(c.req.Token, sd, want)
	c.granted |= got
	c.byPrivilege(privSecurity, got&accessSystemSecurity)
	if got&accessWriteOwner != 0 && hasPrivilege(c.req.Token, privTakeOwnership) {
		c.byPrivilege(privTakeOwnership, accessWriteOwner&^uint32(c.req.Token.Maximal(sd)))
	}
	if missing := (c.remaining | maximalExtras(maximal)) &^ c.granted; missing&(accessDelete|fileReadAttributes) != 0 {
		if st := c.authoriseByParent(missing, readonly, parent); st != ntstatus.Success {
			return st
		}
	}
	if c.remaining &^= c.granted | maximumAllowed; c.remaining != 0 {
		return ntstatus.AccessDenied
	}
	if maximal && c.req.MaximalAccess != 0 {
		c.granted &= c.req.MaximalAccess
	}
	return ntstatus.Success
}

// maximalExtras are the rights that MAXIMUM_ALLOWED asks of the parent too.
func maximalExtras(maximal bool) uint32 {
	if maximal {
		return accessDelete | fileReadAttributes
	}
	return 0
}

// authoriseByParent grants what the directory's owner may do with its entries:
// DELETE by FILE_DELETE_CHILD, FILE_READ_ATTRIBUTES by FILE_LIST_DIRECTORY.
func (c *creation) authoriseByParent(missing uint32, readonly bool, parent func() (*dtyp.SecurityDescriptor, error)) ntstatus.Status {
	sd, err := parent()
	if err != nil {
		return c.fs().statusOf(err)
	}
	if sd == nil {
		return ntstatus.Success
	}
	if missing&accessDelete != 0 && granted(c.req.Token, sd, fileDeleteChild) != 0 {
		c.granted |= accessDelete
	}
	if missing&fileReadAttributes != 0 && granted(c.req.Token, sd, fileListDirectory) != 0 {
		c.granted |= fileReadAttributes
	}
	return ntstatus.Success
}

// MaximalAccess is what the MxAc create context reports: the rights the user of the
// open has on the file, within what the share allows.
func (o *Open) MaximalAccess(share uint32) (uint32, ntstatus.Status) {
	sd, err := o.file.security()
	if err != nil {
		return 0, o.tree.vol.fs.statusOf(err)
	}
	m := uint32(o.Token().Maximal(sd))
	if share != 0 {
		m &= share
	}
	return m | o.access&fileAllAccess, ntstatus.Success
}
