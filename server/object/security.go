package object

import (
	"errors"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Security returns the parts of the security descriptor that info selects
// (SECURITY_INFORMATION, [MS-FSA] 2.1.5.14), self-relative.
func (o *Open) Security(info uint32) ([]byte, ntstatus.Status) {
	parts := dtyp.SecurityInformation(info)
	if need := uint32(auth.SecurityAccess(parts, false)); o.access&need != need {
		return nil, ntstatus.AccessDenied
	}
	if st := o.enter(); st != ntstatus.Success {
		return nil, st
	}
	defer o.leave()
	sd, err := o.file.security()
	if err != nil {
		return nil, o.tree.vol.fs.statusOf(err)
	}
	return sd.Select(parts).Encode(), ntstatus.Success
}

// SetSecurity replaces the parts that info selects by those of sd ([MS-FSA]
// 2.1.5.17). It may wait for a break.
func (o *Open) SetSecurity(info uint32, sd []byte, done func(store.Pos, ntstatus.Status)) *Pending {
	parts := dtyp.SecurityInformation(info)
	if need := uint32(auth.SecurityAccess(parts, true)); o.access&need != need {
		done(0, ntstatus.AccessDenied)
		return nil
	}
	given, err := dtyp.DecodeSecurityDescriptor(sd)
	if err != nil {
		done(0, ntstatus.InvalidSecurityDescr)
		return nil
	}
	return o.retry(done, func(l *later, again func()) (store.Pos, ntstatus.Status, *waiter) {
		f := o.file
		f.mu.Lock()
		defer f.mu.Unlock()
		if o.stream.breakGrants(o, demandDelete, l) {
			return 0, ntstatus.Success, f.wait(again)
		}
		pos, st := o.setSecurity(parts, given)
		return o.through(pos, true), st, nil
	})
}

// setSecurity does the work of SetSecurity. Caller holds File.mu.
func (o *Open) setSecurity(parts dtyp.SecurityInformation, given *dtyp.SecurityDescriptor) (store.Pos, ntstatus.Status) {
	f := o.file
	current, err := f.security()
	if err != nil {
		return 0, f.vol.fs.statusOf(err)
	}
	sd, err := o.Token().SetSecurity(current, given, parts)
	if errors.Is(err, auth.ErrOwner) {
		return 0, ntstatus.InvalidOwner
	}
	if err != nil {
		return 0, ntstatus.InvalidSecurityDescr
	}
	pos, err := f.node.Update(store.Change{
		Times: o.changed(),
		Blobs: map[store.BlobKind][]byte{store.BlobSecurity: sd.Encode()},
	})
	if err != nil {
		return 0, f.vol.fs.statusOf(err)
	}
	f.sd.Store(sd)
	o.modified |= notifySecurity
	return pos, ntstatus.Success
}
