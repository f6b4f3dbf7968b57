package odx

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/store"
)

// Size is the length of a token on the wire.
const Size = fscc.OffloadTokenSize

// Token is a token as clients have it. It has no String method, and must get none.
type Token [Size]byte

// ArrayID names an array to those who hold its tokens: it is made of the public key
// by which the array proves who it is.
type ArrayID [16]byte

// tokenType is Gabion's, of the range that [MS-FSCC] 2.1.11 leaves to vendors.
const tokenType = 0x47420001

// The layout of TokenId; what follows up to its end is zero.
const (
	atMagic  = 0
	atArray  = 4
	atVolume = 20
	atNumber = 36
	atLength = 52
	atMAC    = 60
	idLength = atMAC + sha256.Size
)

const magic = "GBO1"

// body is what a token says.
type body struct {
	array  ArrayID
	volume dtyp.GUID
	number [16]byte // random, the secret
	length uint64   // bytes that it stands for, a multiple of the sector
}

// key authenticates the array's tokens.
type key [32]byte

func (k *key) mac(t *fscc.OffloadToken) []byte {
	h := hmac.New(sha256.New, k[:])
	h.Write([]byte("gabion offload token 1"))
	binary.Write(h, binary.BigEndian, t.TokenType) //nolint:errcheck // a hash takes everything
	h.Write(t.TokenID[:atMAC])
	return h.Sum(nil)
}

// seal makes the token.
func (k *key) seal(b *body) Token {
	t := fscc.OffloadToken{TokenType: tokenType, TokenIDLength: idLength}
	id := t.TokenID[:]
	copy(id[atMagic:], magic)
	copy(id[atArray:], b.array[:])
	copy(id[atVolume:], b.volume[:])
	copy(id[atNumber:], b.number[:])
	binary.LittleEndian.PutUint64(id[atLength:], b.length)
	copy(id[atMAC:], k.mac(&t))
	return t.Encode()
}

// ErrInvalid: forged, damaged, expired, evicted, revoked, or of an array that this one
// does not know. Clients are not told which.
var ErrInvalid = errors.New("invalid token")

// parsed is a token's form, read but not believed.
type parsed struct {
	body
	zero bool
	wire fscc.OffloadToken
}

// parse reads a token. [MS-FSCC] 2.1.11: Reserved is ignored, and of the zero token
// everything but its type.
func parse(b []byte) (*parsed, error) {
	p := new(parsed)
	if len(b) < Size {
		return nil, ErrInvalid
	}
	if binary.BigEndian.Uint32(b) == fscc.OffloadTokenZeroData {
		p.zero = true
		return p, nil
	}
	if p.wire.Decode(b) != nil || p.wire.TokenType != tokenType || p.wire.TokenIDLength != idLength {
		return nil, ErrInvalid
	}
	id := p.wire.TokenID[:]
	for _, c := range id[idLength:] {
		if c != 0 {
			return nil, ErrInvalid
		}
	}
	if string(id[atMagic:atArray]) != magic {
		return nil, ErrInvalid
	}
	copy(p.array[:], id[atArray:])
	copy(p.volume[:], id[atVolume:])
	copy(p.number[:], id[atNumber:])
	p.length = binary.LittleEndian.Uint64(id[atLength:])
	return p, nil
}

// verify says whether this array made the token.
func (k *key) verify(p *parsed) bool {
	return hmac.Equal(k.mac(&p.wire), p.wire.TokenID[atMAC:idLength])
}

// pinOf is the name of the pin that a token's number stands for.
func pinOf(number [16]byte) (id store.PinID) {
	h := sha256.New()
	h.Write([]byte("gabion offload pin 1"))
	h.Write(number[:])
	copy(id[:], h.Sum(nil))
	return id
}

// Zero is the token that stands for zeros.
func Zero() Token {
	return (&fscc.OffloadToken{TokenType: fscc.OffloadTokenZeroData, TokenIDLength: fscc.OffloadTokenIDMax}).Encode()
}
