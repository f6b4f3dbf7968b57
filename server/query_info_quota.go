package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// quota is 3.3.5.20.4. No quotas are kept: the volume's list is empty, and who asks
// for certain SIDs is told that nothing is counted and nothing limited.
func (q *query) quota() {
	var in smb2.QueryQuotaInfo
	if err := in.Decode(q.req.Input); err != nil {
		q.fail(ntstatus.InvalidParameter)
		return
	}
	if in.SIDListLength == 0 {
		q.noMoreEntries(&in)
		return
	}
	sids, err := fscc.DecodeGetQuotas(in.SIDBuffer[:in.SIDListLength])
	if err != nil {
		q.fail(ntstatus.InvalidParameter)
		return
	}
	if in.ReturnSingle && len(sids) > 1 {
		sids = sids[:1]
	}
	list := fscc.NewQuotaList(q.begin(), q.room)
	for i, sid := range sids {
		if list.Add(&fscc.QuotaEntry{SID: sid}) {
			continue
		}
		if i == 0 {
			q.fail(ntstatus.BufferTooSmall)
			return
		}
		break
	}
	q.list(&list, ntstatus.Success)
}

// noMoreEntries answers a walk of the volume's list.
func (q *query) noMoreEntries(in *smb2.QueryQuotaInfo) {
	if in.StartSIDLength != 0 {
		if _, _, err := dtyp.DecodeSID(in.SIDBuffer[in.StartSIDOffset:]); err != nil {
			q.fail(ntstatus.InvalidParameter)
			return
		}
	}
	// A QUERY_INFO response of zeros, as 3.3.5.20.4 wants it, is an error response.
	q.fail(ntstatus.NoMoreEntries)
}
