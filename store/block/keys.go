package block

import (
	"bytes"
	"encoding/binary"
	"math"

	"gabion/store"
)

// Prefixes of index keys; FORMAT.md lists them.
const (
	kApplied = 'a'
	kBlob    = 'b'
	kChunk   = 'c'
	kCounts  = 'd'
	kStale   = 'D'
	kSegment = 'g'
	kCounter = 'h'
	kInode   = 'i'
	kKV      = 'k'
	kLink    = 'l'
	kMarker  = 'm'
	kName    = 'n'
	kOrphan  = 'o'
	kPending = 'p'
	kMoved   = 'r'
	kStream  = 's'
	kPin     = 't'
	kTally   = 'L'
	kSnap    = 'v'
	kSnapBy  = 'V'
)

// newest is the version bound of a live reader.
const newest = math.MaxUint64

var be = binary.BigEndian
var le = binary.LittleEndian

func key64(b []byte, prefix byte, n uint64) []byte {
	return be.AppendUint64(append(b, prefix), n)
}

// The functions below append a versioned key's body, the key without its version.

func inodeKey(b []byte, id store.FileID, stream uint32) []byte {
	return be.AppendUint32(key64(b, kInode, uint64(id)), stream)
}

func chunkBody(b []byte, id store.FileID, stream, chunk uint32) []byte {
	b = be.AppendUint32(key64(b, kChunk, uint64(id)), stream)
	return be.AppendUint32(b, chunk)
}

func blobKey(b []byte, id store.FileID, k store.BlobKind) []byte {
	return append(key64(b, kBlob, uint64(id)), byte(k))
}

func nameKey(b []byte, dir store.FileID, up string) []byte {
	return append(append(key64(b, kName, uint64(dir)), up...), 0)
}

func linkKey(b []byte, id, dir store.FileID, up string) []byte {
	b = be.AppendUint64(key64(b, kLink, uint64(id)), uint64(dir))
	return append(append(b, up...), 0)
}

func streamKey(b []byte, id store.FileID, up string) []byte {
	return append(append(key64(b, kStream, uint64(id)), up...), 0)
}

func pendingBody(b []byte, id store.FileID, stream, chunk uint32) []byte {
	b = be.AppendUint32(key64(b, kPending, uint64(id)), stream)
	return be.AppendUint32(b, chunk)
}

// Unversioned keys.

func counterKey(name string) []byte { return append([]byte{kCounter}, name...) }

func regionKey(b []byte, prefix byte, container uint64, region uint16) []byte {
	return be.AppendUint16(key64(b, prefix, container), region)
}

func orphanKey(b []byte, id store.FileID) []byte { return key64(b, kOrphan, uint64(id)) }

func orphanStreamKey(b []byte, id store.FileID, no uint32) []byte {
	return be.AppendUint32(orphanKey(b, id), no)
}

func markerKey(b []byte, version uint64, body []byte) []byte {
	return append(key64(b, kMarker, version), body...)
}

func kvKey(b []byte, bucket, key string) []byte {
	b = append(append(b, kKV), bucket...)
	return append(append(b, 0), key...)
}

// at appends the version to a body.
func at(body []byte, version uint64) []byte { return be.AppendUint64(body, ^version) }

// versionOf splits a versioned key.
func versionOf(key []byte) (body []byte, version uint64) {
	n := len(key) - 8
	return key[:n], ^be.Uint64(key[n:])
}

// after is the first key that does not begin with prefix.
func after(prefix []byte) []byte {
	b := bytes.Clone(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	return nil
}
