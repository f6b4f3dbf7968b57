package kdctest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/types"

	"gabion/protocol/dtyp"
	"gabion/protocol/krb5"
	"gabion/protocol/pac"
)

// Domain is the SID of the KDC's domain.
var Domain = dtyp.MakeSID(5, 21, 1001, 1002, 1003)

// KDC issues tickets for one service.
type KDC struct {
	Realm   string
	Service []string
	KVNO    uint32
	Key     krb5.Key
}

// New returns a KDC of realm GABION.TEST with a random key for cifs/filesrv.
func New(etype int32) *KDC {
	return &KDC{Realm: "GABION.TEST", Service: []string{"cifs", "filesrv"}, KVNO: 3, Key: RandomKey(etype)}
}

// RandomKey makes a key.
func RandomKey(etype int32) krb5.Key {
	e, err := crypto.GetEtype(etype)
	if err != nil {
		panic(err)
	}
	k := krb5.Key{EType: etype, Value: make([]byte, e.GetKeyByteSize())}
	_, _ = rand.Read(k.Value)
	return k
}

// Entry is the service's key as a key table holds it.
func (k *KDC) Entry() krb5.KeytabEntry {
	return krb5.KeytabEntry{Realm: k.Realm, Principal: krb5.Principal{Type: krb5.NameService, Name: k.Service},
		Time: time.Unix(1, 0).UTC(), KVNO: k.KVNO, Key: k.Key}
}

// WriteKeytab writes a key table file, replacing one that is there as ktutil and
// adcli do: by a new file.
func WriteKeytab(path string, entries ...krb5.KeytabEntry) error {
	f, err := os.CreateTemp(filepath.Dir(path), "keytab")
	if err != nil {
		return err
	}
	_, err = f.Write(krb5.EncodeKeytab(entries))
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// Spec says what is in a ticket. Zero fields get sensible values.
type Spec struct {
	Client  string   // "alice"
	Service []string // the KDC's
	// SessionEType is the session key's, the service key's if 0.
	SessionEType             int32
	Flags                    uint32
	AuthTime, Start, EndTime time.Time
	NoKVNO                   bool
	// PAC changes the PAC before it is signed, Spoil its bytes afterwards.
	PAC   func(*pac.PAC)
	Spoil func([]byte) []byte
	NoPAC bool
	// First are authorization data in front of the PAC's.
	First []krb5.AuthData
}

// Ticket is what a KDC gives to a client.
type Ticket struct {
	krb5.Ticket
	Session krb5.Key
	Client  krb5.Principal
	Realm   string
}

// Issue makes a ticket.
func (k *KDC) Issue(now time.Time, s Spec) Ticket {
	if s.Client == "" {
		s.Client = "alice"
	}
	if s.Service == nil {
		s.Service = k.Service
	}
	if s.SessionEType == 0 {
		s.SessionEType = k.Key.EType
	}
	if s.AuthTime.IsZero() {
		s.AuthTime = now.Add(-time.Minute)
	}
	if s.EndTime.IsZero() {
		s.EndTime = now.Add(10 * time.Hour)
	}
	t := Ticket{Session: RandomKey(s.SessionEType), Client: krb5.Principal{Type: krb5.NamePrincipal, Name: []string{s.Client}}, Realm: k.Realm}
	part := krb5.EncTicketPart{
		Flags: s.Flags, Key: t.Session, Realm: k.Realm, Client: t.Client,
		AuthTime: s.AuthTime, StartTime: s.Start, EndTime: s.EndTime, AuthData: s.First,
	}
	if !s.NoPAC {
		raw := k.sign(k.pac(&s))
		if s.Spoil != nil {
			raw = s.Spoil(raw)
		}
		inner := krb5.EncodeAuthData([]krb5.AuthData{{Type: krb5.ADWin2kPAC, Data: raw}})
		part.AuthData = append(part.AuthData, krb5.AuthData{Type: krb5.ADIfRelevant, Data: inner})
	}
	t.Ticket = krb5.Ticket{Realm: k.Realm, Service: krb5.Principal{Type: krb5.NameService, Name: s.Service}, Enc: Seal(k.Key, 2, part.Encode())}
	t.Enc.KVNO, t.Enc.HasKVNO = k.KVNO, !s.NoKVNO
	return t
}

func (k *KDC) pac(s *Spec) *pac.PAC {
	p := &pac.PAC{
		Logon: pac.LogonInfo{
			Account: s.Client, LogonServer: "DC1", DomainName: "GABION", Domain: Domain, UserID: 1105, PrimaryGroup: 513,
			Groups:    []pac.Membership{{RID: 1201, Attributes: 7}},
			ExtraSIDs: []pac.Group{{SID: dtyp.MakeSID(18, 1), Attributes: 7}}, UserFlags: pac.UserExtraSIDs,
		},
		Client: pac.ClientInfo{AuthTime: dtyp.FiletimeOf(s.AuthTime.Truncate(time.Second)), Name: s.Client},
		UPN:    &pac.UPNInfo{UPN: s.Client + "@gabion.test", DNSDomain: k.Realm},
	}
	if s.PAC != nil {
		s.PAC(p)
	}
	return p
}

// sign signs a PAC with the service's key; the KDC's signature is random.
func (k *KDC) sign(p *pac.PAC) []byte {
	e, err := crypto.GetEtype(k.Key.EType)
	if err != nil {
		panic(err)
	}
	if p.Server.Kind == 0 {
		p.Server.Kind = e.GetHashID()
	}
	p.KDC.Kind = p.Server.Kind
	n := pac.SignatureLen(p.Server.Kind)
	p.Server.Value, p.KDC.Value = make([]byte, n), make([]byte, n)
	_, _ = rand.Read(p.KDC.Value)
	read, err := pac.Decode(p.Encode())
	if err != nil {
		panic(err)
	}
	sum, err := e.GetChecksumHash(k.Key.Value, read.Signed(), 17)
	if err != nil {
		panic(err)
	}
	copy(p.Server.Value, sum)
	return p.Encode()
}

func typesKey(k krb5.Key) types.EncryptionKey {
	return types.EncryptionKey{KeyType: k.EType, KeyValue: k.Value}
}

// Seal encrypts with a key for a usage.
func Seal(k krb5.Key, usage uint32, plain []byte) krb5.EncryptedData {
	e, err := crypto.GetEncryptedData(plain, typesKey(k), usage, 0)
	if err != nil {
		panic(err)
	}
	return krb5.EncryptedData{EType: e.EType, Cipher: e.Cipher}
}

// Open decrypts.
func Open(k krb5.Key, usage uint32, e krb5.EncryptedData) ([]byte, error) {
	if e.EType != k.EType {
		return nil, fmt.Errorf("etype %d for a key of %d", e.EType, k.EType)
	}
	return crypto.DecryptMessage(e.Cipher, typesKey(k), usage)
}
