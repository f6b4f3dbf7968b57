package lsarpc

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// Form says which version of a look-up is spoken.
type Form uint8

const (
	Form1 Form = 1 + iota // LsarLookupNames, LsarLookupSids
	Form2                 // LsarLookupNames2, LsarLookupSids2
	Form3                 // LsarLookupNames3, LsarLookupSids3
	Form4                 // LsarLookupNames4
)

// Account is the answer to one name or SID. Use is SIDTypeUnknown for one that
// is not known; Domain and DomainSID then say what of it was.
type Account struct {
	SID       dtyp.SID
	Name      string
	Domain    string
	DomainSID dtyp.SID
	Use       dtyp.SIDNameUse
}

// mapped reports whether the account counts in MappedCount.
func (a *Account) mapped() bool { return a.Use != dtyp.SIDTypeUnknown && a.Use != dtyp.SIDTypeInvalid }

// relativeID is what, behind the domain's SID, makes the account's.
func (a *Account) relativeID() uint32 {
	switch {
	case !a.mapped():
		return 0
	case a.Use == dtyp.SIDTypeDomain:
		return 0xFFFFFFFF
	}
	return a.SID.RID()
}

// NamesRequest is what LsarLookupNames and its later forms ask (MS-LSAT 3.1.4.5 ff).
type NamesRequest struct {
	Handle Handle // zero in Form4
	Names  []string
	Level  uint16
}

// DecodeLookupNames reads a look-up of names.
func DecodeLookupNames(stub dcerpc.Stub, form Form) (NamesRequest, error) {
	r := stub.Reader()
	var v NamesRequest
	if form != Form4 {
		v.Handle = readHandle(r)
	}
	count := r.Uint32()
	if n := r.Count(8); uint32(n) != count || n > MaxNames {
		r.Fail("%d names in an array of %d", count, n)
	}
	if r.Err() != nil {
		return v, r.Err()
	}
	type head struct {
		length  uint16
		present bool
	}
	heads := make([]head, count)
	for i := range heads {
		r.Align(4)
		heads[i].length = r.Uint16()
		r.Uint16()
		heads[i].present = r.Pointer()
	}
	v.Names = make([]string, count)
	for i, h := range heads {
		if h.present {
			v.Names[i] = readUnits(r, h.length)
		}
	}
	skipTranslated(r)
	v.Level = r.Uint16()
	return v, r.Err()
}

// skipTranslated passes over the empty TranslatedSids or TranslatedNames that a
// client sends.
func skipTranslated(r *dcerpc.Reader) {
	r.Uint32()
	if r.Pointer() && r.Uint32() != 0 {
		r.Fail("entries in a request")
	}
}

// EncodeLookupNames answers a look-up of names with one account for each.
func EncodeLookupNames(form Form, accounts []Account, status ntstatus.Status) []byte {
	return encodeLookup(accounts, status, func(w *dcerpc.Writer, a *Account, domain int32) {
		w.Align(4)
		w.Uint16(uint16(a.Use))
		switch {
		case form < Form3:
			w.Uint32(a.relativeID())
		case a.mapped():
			writeSID(w, a.SID)
		default:
			w.Pointer(nil)
		}
		w.Uint32(uint32(domain))
		if form >= Form2 {
			w.Uint32(0)
		}
	})
}

// SidsRequest is what LsarLookupSids and its later forms ask (MS-LSAT 3.1.4.9 ff).
type SidsRequest struct {
	Handle Handle // zero in Form3
	SIDs   []dtyp.SID
	Level  uint16
}

// DecodeLookupSids reads a look-up of SIDs.
func DecodeLookupSids(stub dcerpc.Stub, form Form) (SidsRequest, error) {
	r := stub.Reader()
	var v SidsRequest
	if form != Form3 {
		v.Handle = readHandle(r)
	}
	count := r.Uint32()
	switch {
	case !r.Pointer():
		if count != 0 {
			r.Fail("%d SIDs in no array", count)
		}
	default:
		if n := r.Count(4); uint32(n) != count || n > MaxSids {
			r.Fail("%d SIDs in an array of %d", count, n)
		}
	}
	if r.Err() != nil {
		return v, r.Err()
	}
	present := make([]bool, count)
	for i := range present {
		present[i] = r.Pointer()
	}
	v.SIDs = make([]dtyp.SID, count)
	for i, p := range present {
		if p {
			v.SIDs[i] = readSID(r)
		}
	}
	skipTranslated(r)
	v.Level = r.Uint16()
	return v, r.Err()
}

// EncodeLookupSids answers a look-up of SIDs with one account for each. One that
// is not known is named by its SID's text.
func EncodeLookupSids(form Form, accounts []Account, status ntstatus.Status) []byte {
	return encodeLookup(accounts, status, func(w *dcerpc.Writer, a *Account, domain int32) {
		name := a.Name
		if !a.mapped() && !a.SID.IsZero() {
			name = a.SID.String()
		}
		w.Align(4)
		w.Uint16(uint16(a.Use))
		writeUnicode(w, name, 0)
		w.Uint32(uint32(domain))
		if form >= Form2 {
			w.Uint32(0)
		}
	})
}

// encodeLookup writes what all look-ups return: the referenced domains, one
// entry for each account, the number of those known, the status. A look-up that
// failed as a whole returns nothing; one that found none of them returns all entries.
func encodeLookup(accounts []Account, status ntstatus.Status, entry func(w *dcerpc.Writer, a *Account, domain int32)) []byte {
	if status.IsError() && status != ntstatus.NoneMapped {
		accounts = nil
	}
	d := domainsOf(accounts)
	var w dcerpc.Writer
	d.write(&w)
	w.Uint32(uint32(len(accounts)))
	writeArray(&w, len(accounts), func(w *dcerpc.Writer, i int) { entry(w, &accounts[i], d.index[i]) })
	w.Flush()
	w.Uint32(d.mapped)
	w.Uint32(uint32(status))
	return w.Bytes()
}

// domains is LSAPR_REFERENCED_DOMAIN_LIST (MS-LSAT 2.2.12) with the index each
// account has in it.
type domains struct {
	list   []Account // of which Domain and DomainSID matter
	index  []int32
	mapped uint32
}

func domainsOf(accounts []Account) (d domains) {
	for i := range accounts {
		if accounts[i].mapped() {
			d.mapped++
		}
		d.index = append(d.index, d.of(&accounts[i]))
	}
	return d
}

func (d *domains) of(a *Account) int32 {
	if a.Domain == "" && a.DomainSID.IsZero() {
		return -1
	}
	for i := range d.list {
		if d.list[i].DomainSID == a.DomainSID && d.list[i].Domain == a.Domain {
			return int32(i)
		}
	}
	d.list = append(d.list, *a)
	return int32(len(d.list) - 1)
}

// write writes the pointer to the list.
func (d *domains) write(w *dcerpc.Writer) {
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(len(d.list)))
		writeArray(w, len(d.list), func(w *dcerpc.Writer, i int) {
			writeUnicode(w, d.list[i].Domain, 2)
			writeSID(w, d.list[i].DomainSID)
		})
		maxEntries := uint32(0) // which nobody reads
		if len(d.list) > 0 {
			maxEntries = 32
		}
		w.Uint32(maxEntries)
	})
	w.Flush()
}
