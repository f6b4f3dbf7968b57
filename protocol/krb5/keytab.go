package krb5

import (
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// KeytabEntry is one key of a key table.
type KeytabEntry struct {
	Realm     string
	Principal Principal
	Time      time.Time
	KVNO      uint32
	// Short says that only the low eight bits of KVNO are known.
	Short bool
	Key   Key
}

const (
	keytabVersion    = 0x0502
	maxKeytabEntries = 4096
)

// DecodeKeytab reads a key table file of version 2 (MIT Kerberos, "The Keytab
// Binary File Format"). It keeps nothing of b.
func DecodeKeytab(b []byte) ([]KeytabEntry, error) {
	s := cryptobyte.String(b)
	var v uint16
	if !s.ReadUint16(&v) || v != keytabVersion {
		return nil, malformed("not a key table of version 2")
	}
	var list []KeytabEntry
	for !s.Empty() {
		var n uint32
		var record []byte
		if !s.ReadUint32(&n) {
			return nil, malformed("key table cut short")
		}
		size := int32(n)
		if size == 0 {
			break // the rest is padding
		}
		hole := size < 0
		if hole {
			size = -size
		}
		if size < 0 || !s.ReadBytes(&record, int(size)) || len(list) == maxKeytabEntries {
			return nil, malformed("key table cut short, or too large")
		}
		if hole {
			continue
		}
		e, err := decodeKeytabEntry(record)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func decodeKeytabEntry(b []byte) (e KeytabEntry, err error) {
	s := cryptobyte.String(b)
	var count, etype uint16
	var realm, key cryptobyte.String
	var kvno uint8
	var kind, stamp uint32
	ok := s.ReadUint16(&count) && count <= maxNames && s.ReadUint16LengthPrefixed(&realm)
	for range count {
		var name cryptobyte.String
		ok = ok && s.ReadUint16LengthPrefixed(&name)
		e.Principal.Name = append(e.Principal.Name, string(name))
	}
	ok = ok && s.ReadUint32(&kind) && s.ReadUint32(&stamp) && s.ReadUint8(&kvno) && s.ReadUint16(&etype) && s.ReadUint16LengthPrefixed(&key)
	if !ok {
		return e, malformed("entry of a key table")
	}
	e.Realm, e.Principal.Type = string(realm), int32(kind)
	e.Time = time.Unix(int64(stamp), 0).UTC()
	e.Key = Key{EType: int32(etype), Value: append([]byte(nil), key...)}
	e.KVNO, e.Short = uint32(kvno), true
	var long uint32
	if s.ReadUint32(&long) && long != 0 {
		e.KVNO, e.Short = long, false
	}
	return e, nil
}

// EncodeKeytab writes a key table file.
func EncodeKeytab(list []KeytabEntry) []byte {
	var w cryptobyte.Builder
	w.AddUint16(keytabVersion)
	text := func(w *cryptobyte.Builder, s string) {
		w.AddUint16LengthPrefixed(func(w *cryptobyte.Builder) { w.AddBytes([]byte(s)) })
	}
	for _, e := range list {
		w.AddUint32LengthPrefixed(func(w *cryptobyte.Builder) {
			w.AddUint16(uint16(len(e.Principal.Name)))
			text(w, e.Realm)
			for _, n := range e.Principal.Name {
				text(w, n)
			}
			w.AddUint32(uint32(e.Principal.Type))
			w.AddUint32(uint32(e.Time.Unix()))
			w.AddUint8(uint8(e.KVNO))
			w.AddUint16(uint16(e.Key.EType))
			text(w, string(e.Key.Value))
			if !e.Short {
				w.AddUint32(e.KVNO)
			}
		})
	}
	return w.BytesOrPanic()
}

// HasKVNO reports whether the entry's key may be of that version, as far as it is
// known. The high half of a version names a read-only domain controller
// ([MS-KILE] 3.1.5.8), which key tables do not.
func (e *KeytabEntry) HasKVNO(kvno uint32) bool {
	if e.Short {
		return uint8(e.KVNO) == uint8(kvno)
	}
	return uint16(e.KVNO) == uint16(kvno)
}
