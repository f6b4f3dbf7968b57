package storetest

import (
	"testing"

	"gabion/store"
)

// Run checks the contract of store.Volume. open returns a new, empty volume of
// at least 1 GiB; Run closes it.
func Run(t *testing.T, open func(testing.TB) store.Volume) {
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) { c.fn(newKit(t, open)) })
	}
}

// contract has one row per promise of the seam.
var contract = []struct {
	name string
	fn   func(*kit)
}{
	{"info", testInfo},
	{"names/lookup", testLookup},
	{"names/case", testCase},
	{"names/invalid", testInvalidNames},
	{"names/readdir", testReadDir},
	{"names/rename", testRename},
	{"names/rename-replace", testRenameReplace},
	{"names/rename-below-itself", testRenameBelowItself},
	{"names/link", testLink},
	{"names/unlink", testUnlink},
	{"names/orphan", testOrphan},
	{"names/removed-directory", testRemovedDirectory},
	{"names/not-a-directory", testNotDir},
	{"names/ids", testIDs},
	{"attr/birth", testBirth},
	{"attr/update", testUpdate},
	{"attr/blobs", testBlobs},
	{"attr/touch", testTouch},
	{"attr/entry", testEntry},
	{"data/write", testWrite},
	{"data/odd", testOddWrites},
	{"data/eof", testEOF},
	{"data/size", testSetSize},
	{"data/hole", testHole},
	{"data/zero", testZero},
	{"data/valid", testValidData},
	{"data/allocation", testAllocation},
	{"data/limits", testLimits},
	{"data/buffer-reuse", testBufferReuse},
	{"data/concurrent", testConcurrentWrites},
	{"clone/file", testClone},
	{"clone/independent", testCloneIndependent},
	{"clone/self", testCloneSelf},
	{"clone/hole", testCloneHole},
	{"clone/chain", testCloneChain},
	{"clone/invalid", testCloneInvalid},
	{"clone/snapshot", testCloneFromSnapshot},
	{"streams/named", testStreams},
	{"streams/remove", testRemoveStream},
	{"streams/rename", testRenameStream},
	{"streams/rename-unnamed", testRenameUnnamed},
	{"streams/directory", testDirectoryStreams},
	{"snapshots/stable", testSnapshotStable},
	{"snapshots/read-only", testSnapshotReadOnly},
	{"snapshots/names", testSnapshotNames},
	{"snapshots/scope", testSnapshotScope},
	{"snapshots/list", testSnapshotList},
	{"snapshots/delete", testSnapshotDelete},
	{"snapshots/diff", testDiff},
	{"snapshots/differs", testDiffers},
	{"snapshots/versions", testVersions},
	{"snapshots/restore", testRestore},
	{"snapshots/restore-streams", testRestoreStreams},
	{"snapshots/restore-set", testRestoreSet},
	{"snapshots/restore-under-load", testRestoreUnderLoad},
	{"snapshots/replace", testReplace},
	{"snapshots/changed", testChanged},
	{"snapshots/under-load", testSnapshotUnderLoad},
	{"pins/stable", testPinStable},
	{"pins/clone", testPinClone},
	{"pins/streams", testPinStreams},
	{"pins/gone", testPinGone},
	{"pins/bound", testPinBound},
	{"kv", testKV},
	{"kv/snapshot", testKVUnversioned},
	{"durable/wait", testWait},
	{"durable/callback", testOnDurable},
	{"space", testSpace},
}

func testInfo(k *kit) {
	i := k.v.Info()
	if i.GUID.IsZero() || i.Serial == 0 || i.Created == 0 {
		k.Errorf("incomplete %+v", i)
	}
	if i.BlockSize < 512 || i.BlockSize&(i.BlockSize-1) != 0 {
		k.Errorf("block size %d", i.BlockSize)
	}
	if i != k.v.Info() {
		k.Error("Info changed")
	}
	if k.root.ID() != store.RootID || !k.root.IsDir() || k.root.View() != store.Live {
		k.Errorf("root is %d, dir %v, view %d", k.root.ID(), k.root.IsDir(), k.root.View())
	}
	if ns, err := k.root.Names(); err != nil || len(ns) != 0 {
		k.Errorf("root has names %v, %v", ns, err)
	}
	_, err := k.v.OpenID(store.Live, 1<<60)
	k.fails(err, store.ErrNotFound)
	_, err = k.v.Root(store.View(1 << 60))
	k.fails(err, store.ErrNotFound)
}

func testSpace(k *kit) {
	before := k.v.Space()
	if before.Total <= 0 || before.Free <= 0 || before.Used < 0 || before.Free > before.Total {
		k.Errorf("empty volume: %+v", before)
	}
	s := k.data(k.file(k.root, "f"))
	k.write(s, pattern(1, 8<<20), 0)
	k.ok(k.v.Sync())
	after := k.v.Space()
	if after.Used-before.Used < 7<<20 {
		k.Errorf("8 MiB raised Used from %d to %d", before.Used, after.Used)
	}
	if after.Free >= before.Free {
		k.Errorf("8 MiB left Free at %d, was %d", after.Free, before.Free)
	}
}
