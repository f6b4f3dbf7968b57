package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
)

// createContexts are the create contexts of a request [MS-SMB2] 2.2.13.2. Unknown
// ones are ignored, and so are those that the dialect does not know.
type createContexts struct {
	ea, sd      []byte
	allocation  *smb2.AllocationSize
	timewarp    *smb2.Timewarp
	maximal     *smb2.MaximalAccessRequest
	onDisk      bool
	lease       *smb2.Lease
	durable     *smb2.DurableRequest
	reconnect   *smb2.DurableReconnect
	durableV2   *smb2.DurableRequestV2
	reconnectV2 *smb2.DurableReconnectV2
	app         *smb2.AppInstanceID
	appVersion  *smb2.AppInstanceVersion
	svhdx       []byte // SVHDX_OPEN_DEVICE_CONTEXT, of any version
}

// appInstance is Open.AppInstanceId and Open.ApplicationInstanceVersion.
type appInstance struct {
	id      dtyp.GUID
	version *smb2.AppInstanceVersion
}

// decodable is the data of a create context.
type decodable interface{ Decode([]byte) error }

// parseContexts is "Create Context Validation" of 3.3.5.9: a context whose data is not of
// its size fails the request. The list itself was checked when it was decoded.
func (r *request) parseContexts(list smb2.CreateContextReader) (c createContexts, status ntstatus.Status) {
	is3x, leasing := r.dialect().Is3x(), r.conn.serverCaps&smb2.CapLeasing != 0
	for list.Next() {
		var into decodable
		switch string(list.Name) {
		case smb2.ContextEABuffer:
			c.ea = list.Data
		case smb2.ContextSDBuffer:
			c.sd = list.Data
		case smb2.ContextAllocationSize:
			c.allocation = new(smb2.AllocationSize)
			into = c.allocation
		case smb2.ContextTimewarp:
			c.timewarp = new(smb2.Timewarp)
			into = c.timewarp
		case smb2.ContextMaximalAccess:
			c.maximal = new(smb2.MaximalAccessRequest)
			into = c.maximal
		case smb2.ContextOnDiskID:
			c.onDisk = true
		case smb2.ContextLease:
			if leasing {
				c.lease = new(smb2.Lease)
				into = c.lease
			}
		case smb2.ContextDurableRequest:
			c.durable = new(smb2.DurableRequest)
			into = c.durable
		case smb2.ContextDurableReconnect:
			c.reconnect = new(smb2.DurableReconnect)
			into = c.reconnect
		default:
			if is3x {
				into = c.parse3x(&list)
			}
			if string(list.Name) == smb2.ContextSVHDXOpenDevice && r.sharesDisks() {
				c.svhdx = list.Data
			}
		}
		if into != nil && into.Decode(list.Data) != nil {
			return c, ntstatus.InvalidParameter
		}
	}
	return c, c.conflict()
}

// parse3x is for the contexts of the 3.x dialects.
func (c *createContexts) parse3x(list *smb2.CreateContextReader) decodable {
	switch string(list.Name) {
	case smb2.ContextDurableRequestV2:
		c.durableV2 = new(smb2.DurableRequestV2)
		return c.durableV2
	case smb2.ContextDurableReconnectV2:
		c.reconnectV2 = new(smb2.DurableReconnectV2)
		return c.reconnectV2
	case smb2.ContextAppInstanceID:
		c.app = new(smb2.AppInstanceID)
		return c.app
	case smb2.ContextAppInstanceVersion:
		c.appVersion = new(smb2.AppInstanceVersion)
		return c.appVersion
	}
	return nil
}

// conflict refuses durable contexts that exclude one another: 3.3.5.9.6, 3.3.5.9.7,
// 3.3.5.9.10, 3.3.5.9.12.
func (c *createContexts) conflict() ntstatus.Status {
	v1, v2 := c.durable != nil || c.reconnect != nil, c.durableV2 != nil || c.reconnectV2 != nil
	if v1 && v2 || c.durableV2 != nil && c.reconnectV2 != nil {
		return ntstatus.InvalidParameter
	}
	return ntstatus.Success
}

// leaseRequest is what the object store is asked for; nil without a lease. It counts
// only with SMB2_OPLOCK_LEVEL_LEASE (3.3.5.9.8), its second version only in 3.x.
func (c *createContexts) leaseRequest(level smb2.OplockLevel, dialect smb2.Dialect) (*object.LeaseRequest, ntstatus.Status) {
	if level != smb2.OplockLevelLease || c.lease == nil {
		return nil, ntstatus.Success
	}
	l := c.lease
	if l.V2 && !dialect.Is3x() {
		return nil, ntstatus.InvalidParameter
	}
	return &object.LeaseRequest{
		Key:       dtyp.GUID(l.Key),
		State:     object.Caching(l.State & (smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching)),
		V2:        l.V2,
		HasParent: l.V2 && l.Flags&smb2.LeaseFlagParentLeaseKeySet != 0,
		ParentKey: dtyp.GUID(l.ParentLeaseKey),
		Epoch:     l.Epoch,
	}, ntstatus.Success
}

// leaseResponse is the lease as the client sees it (2.2.14.2.10, 2.2.14.2.11).
func leaseResponse(li *object.LeaseInfo) smb2.Lease {
	l := smb2.Lease{V2: li.V2, Key: smb2.LeaseKey(li.Key), State: smb2.LeaseState(li.State)}
	if li.Breaking {
		l.Flags |= smb2.LeaseFlagBreakInProgress
	}
	if li.V2 {
		l.Epoch = li.Epoch
		if li.HasParent {
			l.Flags |= smb2.LeaseFlagParentLeaseKeySet
			l.ParentLeaseKey = smb2.LeaseKey(li.ParentKey)
		}
	}
	return l
}
