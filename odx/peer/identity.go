package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"gabion/odx"
	"gabion/store"
)

// Fingerprint is the SHA-256 of an array's public key (SubjectPublicKeyInfo).
type Fingerprint [sha256.Size]byte

// String is the form that administrators copy.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads String's form; colons and case do not matter.
func ParseFingerprint(s string) (f Fingerprint, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(b) != len(f) {
		return f, errors.New("a fingerprint has 64 hexadecimal digits; `gabion peer identity` on the other array prints it")
	}
	copy(f[:], b)
	return f, nil
}

// Array is the array's name in tokens.
func (f Fingerprint) Array() (id odx.ArrayID) {
	copy(id[:], f[:])
	return id
}

// Identity is an array's key pair, with a certificate to carry it.
type Identity struct {
	Fingerprint Fingerprint
	cert        tls.Certificate
}

// OpenIdentity reads the array's key pair from a volume, or makes it at the first start.
func OpenIdentity(vol store.Volume) (*Identity, error) {
	der, err := odx.Secret(vol, "peer-key", func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKCS8PrivateKey(key)
	})
	if err != nil {
		return nil, fmt.Errorf("array key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("array key: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("array key: of an unknown kind")
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gabion array"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("array certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(cert)
	if err != nil {
		return nil, err
	}
	return &Identity{
		Fingerprint: sha256.Sum256(leaf.RawSubjectPublicKeyInfo),
		cert:        tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key, Leaf: leaf},
	}, nil
}

// fingerprintOf is the fingerprint of whoever is at the other end.
func fingerprintOf(s tls.ConnectionState) (Fingerprint, error) {
	if len(s.PeerCertificates) == 0 {
		return Fingerprint{}, errors.New("no certificate")
	}
	return sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo), nil
}
