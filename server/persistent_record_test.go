package server

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"gabion/protocol/dtyp"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/server/qos"
	"gabion/store"
	"gabion/store/memvol"
)

func sampleRecords() []openRecord {
	return []openRecord{
		{},
		{Share: "vms", Name: "vm1\\disk.vhdx", DesiredAccess: 1, ShareAccess: 2, CreateOptions: 3, Action: 1,
			State: object.OpenState{File: 7, Path: "vm1\\disk.vhdx", Durable: object.Durable{Kind: object.Persistent, Owner: "S-1-5-21", Timeout: time.Minute}}},
		{Share: "ca", Name: "\xff\xfe not UTF-8", AppVersion: &smb2.AppInstanceVersion{High: 1, Low: 2},
			State: object.OpenState{Stream: "s", Position: -1, DeleteOnClose: true, KeepAccess: true, Client: dtyp.GUID{1}, AppID: dtyp.GUID{2},
				Grant:         &object.GrantState{Lease: true, Key: dtyp.GUID{3}, V2: true, Epoch: 9, Held: 7, Breaking: true, To: 3, Required: 1},
				Locks:         []object.LockRange{{Off: 1, Len: 2, Exclusive: true}, {Off: 1 << 63, Len: 1}},
				LockSequences: []object.LockSequence{{Index: 64, Number: 15}}}},
		{Flow: &qos.Association{}},
		{Flow: &qos.Association{Flow: dtyp.GUID{1}, Policy: dtyp.GUID{2}, Initiator: dtyp.GUID{3}, Limit: 4, Reservation: 5, Bandwidth: 6, Name: "vm", Node: "host"}},
		{Disk: &diskRecord{}},
		{Disk: &diskRecord{Context: []byte{1, 2}, Target: &wire.TargetSpecifier{Namespace: 1, SnapshotType: 2, SnapshotID: dtyp.GUID{3}}, Sense: []byte{4}}},
	}
}

func TestRecordRoundTrip(t *testing.T) {
	for _, rec := range sampleRecords() {
		b := rec.append(nil)
		var got openRecord
		if err := got.decode(b); err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("%v\n%+v\nwant\n%+v", err, got, rec)
		}
		for n := range b {
			if new(openRecord).decode(b[:n]) == nil {
				t.Errorf("%d of %d bytes are taken for a record", n, len(b))
			}
		}
		if new(openRecord).decode(append(b, 0)) == nil {
			t.Error("a byte too many is not noticed")
		}
	}
}

func FuzzOpenRecord(f *testing.F) {
	for _, rec := range sampleRecords() {
		f.Add(rec.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var rec openRecord
		if rec.decode(b) == nil && !bytes.Equal(rec.append(nil), b) {
			t.Errorf("%x\nis %+v\nwhich is\n%x", b, rec, rec.append(nil))
		}
	})
}

// A server of several volumes gives out no persistent id that any of them knows.
func TestIncarnationIsNewToEveryVolume(t *testing.T) {
	a, b := memvol.New(memvol.Options{}), memvol.New(memvol.Options{})
	for i, tt := range []struct {
		vols []store.Volume
		want uint64
	}{{[]store.Volume{a}, 1}, {[]store.Volume{a}, 2}, {[]store.Volume{a, b}, 3}, {[]store.Volume{b}, 4}, {[]store.Volume{a, b}, 5}, {nil, 1}} {
		if n, err := incarnate(tt.vols); err != nil || n != tt.want {
			t.Errorf("%d: incarnation %d, %v, not %d", i, n, err, tt.want)
		}
	}
}
