package kerberos

import (
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/crypto/etype"

	"gabion/protocol/krb5"
	"gabion/protocol/pac"
)

// Encryption types (RFC 3961 8) that may be accepted: those a domain controller
// issues.
const (
	AES128 int32 = 17 // aes128-cts-hmac-sha1-96
	AES256 int32 = 18 // aes256-cts-hmac-sha1-96
	RC4    int32 = 23 // rc4-hmac
)

// Key usage numbers (RFC 4120 7.5.1, RFC 4121 2, [MS-KILE] 3.1.5.9).
const (
	usageTicket        = 2
	usageAuthenticator = 11
	usageAPRep         = 12
	usagePAC           = 17
	usageAcceptorSeal  = 22
	usageAcceptorSign  = 23
	usageInitiatorSeal = 24
	usageInitiatorSign = 25
)

// suite is an encryption type with what has to be known before gokrb5 may be
// called: it slices without looking.
type suite struct {
	etype.EType
	name       string
	keyLen     int
	confounder int
	mac        int
	checksum   int32 // the type of the checksum made with its keys
}

var suites = map[int32]*suite{
	AES128: newSuite(AES128, "aes128", 16, 16, 12, pac.HMACSHA196AES128),
	AES256: newSuite(AES256, "aes256", 32, 16, 12, pac.HMACSHA196AES256),
	RC4:    newSuite(RC4, "rc4", 16, 8, 16, pac.HMACMD5),
}

func newSuite(id int32, name string, keyLen, confounder, mac int, checksum int32) *suite {
	e, err := crypto.GetEtype(id)
	if err != nil {
		panic("kerberos: " + err.Error())
	}
	return &suite{e, name, keyLen, confounder, mac, checksum}
}

// etypeName is an encryption type in an administrator's words.
func etypeName(id int32) string {
	if s := suites[id]; s != nil {
		return s.name
	}
	return fmt.Sprintf("etype %d", id)
}

var errIntegrity = errors.New("integrity check failed")

// suiteOf returns the suite that fits a key.
func suiteOf(k krb5.Key) (*suite, error) {
	s := suites[k.EType]
	if s == nil || len(k.Value) != s.keyLen {
		return nil, fmt.Errorf("%s key of %d bytes", etypeName(k.EType), len(k.Value))
	}
	return s, nil
}

// open decrypts what was encrypted with a key for a usage.
func open(k krb5.Key, usage uint32, e krb5.EncryptedData) ([]byte, error) {
	s, err := suiteOf(k)
	if err != nil {
		return nil, err
	}
	if e.EType != k.EType || len(e.Cipher) < s.confounder+s.mac {
		return nil, errIntegrity
	}
	plain, err := s.DecryptMessage(k.Value, e.Cipher, usage)
	if err != nil {
		return nil, errIntegrity
	}
	return plain, nil
}

// seal encrypts with a key that suiteOf knows.
func seal(k krb5.Key, usage uint32, plain []byte) (krb5.EncryptedData, error) {
	s, err := suiteOf(k)
	if err != nil {
		return krb5.EncryptedData{}, err
	}
	_, cipher, err := s.EncryptMessage(k.Value, plain, usage)
	return krb5.EncryptedData{EType: k.EType, Cipher: cipher}, err
}
