package fscc

import "gabion/protocol/dtyp"

// StreamEntry is FILE_STREAM_INFORMATION ([MS-FSCC] 2.4.49). Name is the wire's
// ":name:$DATA"; see StreamWireName.
type StreamEntry struct {
	StreamSize           int64
	StreamAllocationSize int64
	StreamName           string
}

// StreamWireName is the name a stream has in FileStreamInformation; the unnamed
// one is "::$DATA".
func StreamWireName(name string) string { return ":" + name + ":" + StreamTypeData }

// StreamList writes FileStreamInformation.
type StreamList struct{ chain }

// NewStreamList appends to dst a list of at most limit bytes.
func NewStreamList(dst []byte, limit int) StreamList { return StreamList{newChain(dst, limit, 8)} }

// Add appends an entry, or returns false and changes nothing if it does not
// fit: STATUS_BUFFER_OVERFLOW.
func (l *StreamList) Add(e *StreamEntry) bool {
	nameLen := 2 * dtyp.UTF16Len(e.StreamName)
	if !l.next(24 + nameLen) {
		return false
	}
	b := le.AppendUint32(l.buf, uint32(nameLen))
	b = le.AppendUint64(b, uint64(e.StreamSize))
	b = le.AppendUint64(b, uint64(e.StreamAllocationSize))
	l.buf = dtyp.AppendUTF16(b, e.StreamName)
	return true
}

// DecodeStreams reads FileStreamInformation.
func DecodeStreams(b []byte) (list []StreamEntry, err error) {
	err = walk(b, 24, "FILE_STREAM_INFORMATION", func(b []byte) error {
		name, err := nameAt(b, 24, le.Uint32(b[4:]), "FILE_STREAM_INFORMATION")
		list = append(list, StreamEntry{int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:])), name})
		return err
	})
	return list, err
}

// LinkEntry is FILE_LINK_ENTRY_INFORMATION ([MS-FSCC] 2.4.17.1).
type LinkEntry struct {
	ParentFileID uint64
	FileName     string
}

const linksHeader = 8

// AppendLinks appends FileHardLinkInformation ([MS-FSCC] 2.4.17) with as many
// links as fit in limit bytes; all reports whether every one did, else the status
// is STATUS_BUFFER_OVERFLOW. BytesNeeded always counts all.
func AppendLinks(dst []byte, limit int, links []LinkEntry) (b []byte, all bool) {
	needed := linksHeader
	for i := range links {
		needed = (needed + 7) &^ 7
		needed += 16 + 2*dtyp.UTF16Len(links[i].FileName)
	}
	start := len(dst)
	dst = le.AppendUint32(dst, uint32(needed))
	dst = append(dst, 0, 0, 0, 0)
	c := newChain(dst, limit-linksHeader, 8)
	n := 0
	for _, l := range links {
		units := dtyp.UTF16Len(l.FileName)
		if !c.next(16 + 2*units) {
			break
		}
		c.buf = le.AppendUint64(c.buf, l.ParentFileID)
		c.buf = le.AppendUint32(c.buf, uint32(units)) // in characters, unlike all others
		c.buf = dtyp.AppendUTF16(c.buf, l.FileName)
		n++
	}
	le.PutUint32(c.buf[start+4:], uint32(n))
	return c.buf, n == len(links)
}

// DecodeLinks reads FileHardLinkInformation.
func DecodeLinks(b []byte) (list []LinkEntry, err error) {
	if len(b) < linksHeader {
		return nil, malformed("FILE_LINKS_INFORMATION")
	}
	n := le.Uint32(b[4:])
	if n == 0 {
		return nil, nil
	}
	err = walk(b[linksHeader:], 16, "FILE_LINK_ENTRY_INFORMATION", func(b []byte) error {
		units := le.Uint32(b[12:])
		if units > uint32(len(b)) {
			return malformed("FILE_LINK_ENTRY_INFORMATION")
		}
		name, err := nameAt(b, 16, 2*units, "FILE_LINK_ENTRY_INFORMATION")
		list = append(list, LinkEntry{le.Uint64(b[4:]), name})
		return err
	})
	if err == nil && uint32(len(list)) != n {
		err = malformed("FILE_LINKS_INFORMATION EntriesReturned")
	}
	return list, err
}

// NotifyEntry is FILE_NOTIFY_INFORMATION ([MS-FSCC] 2.7.1).
type NotifyEntry struct {
	Action   uint32
	FileName string
}

// NotifyList writes the reply of CHANGE_NOTIFY.
type NotifyList struct{ chain }

// NewNotifyList appends to dst a list of at most limit bytes.
func NewNotifyList(dst []byte, limit int) NotifyList { return NotifyList{newChain(dst, limit, 4)} }

// Add appends an entry, or returns false and changes nothing if it does not
// fit: STATUS_NOTIFY_ENUM_DIR.
func (l *NotifyList) Add(e *NotifyEntry) bool {
	nameLen := 2 * dtyp.UTF16Len(e.FileName)
	if !l.next(12 + nameLen) {
		return false
	}
	b := le.AppendUint32(l.buf, e.Action)
	b = le.AppendUint32(b, uint32(nameLen))
	l.buf = dtyp.AppendUTF16(b, e.FileName)
	return true
}

// DecodeNotify reads the reply of CHANGE_NOTIFY.
func DecodeNotify(b []byte) (list []NotifyEntry, err error) {
	err = walk(b, 12, "FILE_NOTIFY_INFORMATION", func(b []byte) error {
		name, err := nameAt(b, 12, le.Uint32(b[8:]), "FILE_NOTIFY_INFORMATION")
		list = append(list, NotifyEntry{le.Uint32(b[4:]), name})
		return err
	})
	return list, err
}

// QuotaEntry is FILE_QUOTA_INFORMATION ([MS-FSCC] 2.4.41).
type QuotaEntry struct {
	ChangeTime     dtyp.Filetime
	QuotaUsed      int64
	QuotaThreshold int64
	QuotaLimit     int64
	SID            dtyp.SID
}

// QuotaList writes FileQuotaInformation.
type QuotaList struct{ chain }

// NewQuotaList appends to dst a list of at most limit bytes.
func NewQuotaList(dst []byte, limit int) QuotaList { return QuotaList{newChain(dst, limit, 8)} }

// Add appends an entry, or returns false and changes nothing if it does not fit.
func (l *QuotaList) Add(e *QuotaEntry) bool {
	if !l.next(40 + e.SID.Len()) {
		return false
	}
	b := le.AppendUint32(l.buf, uint32(e.SID.Len()))
	b = le.AppendUint64(b, uint64(e.ChangeTime))
	b = le.AppendUint64(b, uint64(e.QuotaUsed))
	b = le.AppendUint64(b, uint64(e.QuotaThreshold))
	b = le.AppendUint64(b, uint64(e.QuotaLimit))
	l.buf = e.SID.Append(b)
	return true
}

// DecodeQuotas reads FileQuotaInformation.
func DecodeQuotas(b []byte) (list []QuotaEntry, err error) {
	err = walk(b, 40, "FILE_QUOTA_INFORMATION", func(b []byte) error {
		n := le.Uint32(b[4:])
		if uint64(n)+40 > uint64(len(b)) {
			return malformed("FILE_QUOTA_INFORMATION SidLength")
		}
		sid, _, err := dtyp.DecodeSID(b[40 : 40+n])
		list = append(list, QuotaEntry{dtyp.Filetime(le.Uint64(b[8:])), int64(le.Uint64(b[16:])),
			int64(le.Uint64(b[24:])), int64(le.Uint64(b[32:])), sid})
		return err
	})
	return list, err
}

// DecodeGetQuotas reads a list of FILE_GET_QUOTA_INFORMATION ([MS-FSCC] 2.4.41.1).
func DecodeGetQuotas(b []byte) (list []dtyp.SID, err error) {
	err = walk(b, 8, "FILE_GET_QUOTA_INFORMATION", func(b []byte) error {
		n := le.Uint32(b[4:])
		if uint64(n)+8 > uint64(len(b)) {
			return malformed("FILE_GET_QUOTA_INFORMATION SidLength")
		}
		sid, _, err := dtyp.DecodeSID(b[8 : 8+n])
		list = append(list, sid)
		return err
	})
	return list, err
}
