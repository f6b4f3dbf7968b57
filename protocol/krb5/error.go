package krb5

import (
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// ErrorCode is error-code of a KRB-ERROR (RFC 4120 7.5.9).
type ErrorCode int32

const (
	ErrBadIntegrity  ErrorCode = 31 // KRB_AP_ERR_BAD_INTEGRITY
	ErrTicketExpired ErrorCode = 32 // KRB_AP_ERR_TKT_EXPIRED
	ErrNotYetValid   ErrorCode = 33 // KRB_AP_ERR_TKT_NYV
	ErrRepeat        ErrorCode = 34 // KRB_AP_ERR_REPEAT
	ErrNotUs         ErrorCode = 35 // KRB_AP_ERR_NOT_US
	ErrBadMatch      ErrorCode = 36 // KRB_AP_ERR_BADMATCH
	ErrSkew          ErrorCode = 37 // KRB_AP_ERR_SKEW
	ErrModified      ErrorCode = 41 // KRB_AP_ERR_MODIFIED
	ErrBadKeyVersion ErrorCode = 44 // KRB_AP_ERR_BADKEYVER
	ErrNoKey         ErrorCode = 45 // KRB_AP_ERR_NOKEY
	ErrMutualFail    ErrorCode = 46 // KRB_AP_ERR_MUT_FAIL
	ErrBadChecksum   ErrorCode = 50 // KRB_AP_ERR_INAPP_CKSUM
	ErrGeneric       ErrorCode = 60 // KRB_ERR_GENERIC
)

var errorNames = map[ErrorCode]string{
	ErrBadIntegrity: "KRB_AP_ERR_BAD_INTEGRITY", ErrTicketExpired: "KRB_AP_ERR_TKT_EXPIRED", ErrNotYetValid: "KRB_AP_ERR_TKT_NYV",
	ErrRepeat: "KRB_AP_ERR_REPEAT", ErrNotUs: "KRB_AP_ERR_NOT_US", ErrBadMatch: "KRB_AP_ERR_BADMATCH", ErrSkew: "KRB_AP_ERR_SKEW",
	ErrModified: "KRB_AP_ERR_MODIFIED", ErrBadKeyVersion: "KRB_AP_ERR_BADKEYVER", ErrNoKey: "KRB_AP_ERR_NOKEY",
	ErrMutualFail: "KRB_AP_ERR_MUT_FAIL", ErrBadChecksum: "KRB_AP_ERR_INAPP_CKSUM", ErrGeneric: "KRB_ERR_GENERIC",
}

func (c ErrorCode) String() string {
	if s := errorNames[c]; s != "" {
		return s
	}
	return fmt.Sprintf("KRB_ERROR(%d)", int32(c))
}

// Error is KRB-ERROR (RFC 4120 5.9.1).
type Error struct {
	ClientTime     time.Time // zero: unknown
	ClientMicrosec int32
	Time           time.Time
	Microsec       int32
	Code           ErrorCode
	Realm          string // the service's
	Service        Principal
	Text           string
	Data           []byte
}

// SkewRecovery is the e-data that invites a client to try again by the server's
// clock: KERB-ERROR-DATA of type KERB_AP_ERR_TYPE_SKEW_RECOVERY ([MS-KILE] 2.2.2).
var SkewRecovery = []byte{0x30, 0x05, 0xa1, 0x03, 0x02, 0x01, 0x02}

// DecodeError reads a KRB-ERROR. It keeps nothing of b.
func DecodeError(b []byte) (e Error, err error) {
	f := openApp(b, typeError)
	f.note(f.integer(f.field(0)) == version)
	f.note(f.integer(f.field(1)) == typeError)
	if v, there := f.optional(2); there {
		e.ClientTime = f.time(v)
	}
	if v, there := f.optional(3); there {
		e.ClientMicrosec = f.microsec(v)
	}
	e.Time = f.time(f.field(4))
	e.Microsec = f.microsec(f.field(5))
	e.Code = ErrorCode(f.integer(f.field(6)))
	f.optional(7) // crealm
	f.optional(8) // cname
	e.Realm = f.text(f.field(9))
	e.Service = f.principal(f.field(10))
	if v, there := f.optional(11); there {
		e.Text = f.text(v)
	}
	if v, there := f.optional(12); there {
		e.Data = f.octets(v)
	}
	return e, f.err("KRB-ERROR")
}

// Encode writes the KRB-ERROR.
func (e *Error) Encode() []byte {
	return encodeApp(typeError, func(w builder) {
		w.integer(0, version)
		w.integer(1, typeError)
		if !e.ClientTime.IsZero() {
			w.time(2, e.ClientTime)
			w.integer(3, int64(e.ClientMicrosec))
		}
		w.time(4, e.Time)
		w.integer(5, int64(e.Microsec))
		w.field(6, func(w *cryptobyte.Builder) { w.AddASN1Int64(int64(e.Code)) })
		w.text(9, e.Realm)
		w.principal(10, e.Service)
		if e.Text != "" {
			w.text(11, e.Text)
		}
		if e.Data != nil {
			w.octets(12, e.Data)
		}
	})
}
