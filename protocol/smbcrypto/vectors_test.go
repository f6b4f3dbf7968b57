package smbcrypto

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"testing"

	"gabion/protocol/smb2"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 4493 section 4.
func TestCMACVectors(t *testing.T) {
	block, _ := aes.NewCipher(unhex(t, "2b7e151628aed2a6abf7158809cf4f3c"))
	msg := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	c := newCMAC(block)
	if got := hex.EncodeToString(c.k1[:]); got != "fbeed618357133667c85e08f7236a8de" {
		t.Errorf("K1 %s", got)
	}
	if got := hex.EncodeToString(c.k2[:]); got != "f7ddac306ae266ccf90bc11ee46d513b" {
		t.Errorf("K2 %s", got)
	}
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
		64: "51f0bebf7e3b9d92fc49741779363cfe",
	} {
		if got := hex.EncodeToString(CMAC(block, nil, msg[:n])); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// RFC 3610 section 8, packet vectors 1 to 3: 13-byte nonce, 8-byte tag.
func TestCCMVectors(t *testing.T) {
	block, _ := aes.NewCipher(unhex(t, "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf"))
	for _, v := range []struct{ nonce, ad, msg, want string }{
		{"00000003020100a0a1a2a3a4a5", "0001020304050607", "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e",
			"588c979a61c663d2f066d0c2c0f989806d5f6b61dac38417e8d12cfdf926e0"},
		{"00000004030201a0a1a2a3a4a5", "0001020304050607", "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			"72c91a36e135f8cf291ca894085c87e3cc15c439c9e43a3ba091d56e10400916"},
		{"00000005040302a0a1a2a3a4a5", "0001020304050607", "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
			"51b1e5f44a197d1da46b0f8e2d282ae871e838bb64da8596574adaa76fbd9fb0c5"},
	} {
		msg, nonce := unhex(t, v.msg), unhex(t, v.nonce)
		var tag [16]byte
		ccmMAC(block, tag[:], nonce, msg, unhex(t, v.ad), 8)
		ccmCrypt(block, tag[:], nonce, msg)
		if got := hex.EncodeToString(append(msg, tag[:8]...)); got != v.want {
			t.Errorf("got %s, want %s", got, v.want)
		}
	}
}

// The form SMB uses, 11-byte nonce and 16-byte tag, as another implementation
// (OpenSSL) computes it.
func TestCCMLikeOpenSSL(t *testing.T) {
	seq := func(from, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(from + i)
		}
		return b
	}
	for size, want := range map[int]string{
		16: "4c6873cedc9e7b9ab633af2e7638fcc7511fa6dcc34ee04e42ef30be59330033e92d9a4fbf416571806ce7aed370182e24a9" +
			"25376484225cc5b3a0dff8b200f809806291593a5b7d481a42ad02191493bbd45fcadaf4b1539cab4ae053e84d18d06861",
		32: "2759e18d53e5373b574634e8b625b7f553a4b1f4f004378209fd3aac9f09416d47f073dd761d287164e1ff27f600905fcdfc" +
			"40cb9216741b314a2d9d8d9aa7d9c6abe7a523f914e39600833ffafb9fb7c37528fb0efb12ed3d7e4fd47f9e148577a67a",
	} {
		block, _ := aes.NewCipher(seq(0, size))
		msg := make([]byte, 83)
		for i := range msg {
			msg[i] = byte(i * 7)
		}
		plain := bytes.Clone(msg)
		tag := make([]byte, 16)
		ccmSeal(block, tag, seq(0x10, 11), msg, seq(0x40, 32))
		if got := hex.EncodeToString(append(bytes.Clone(msg), tag...)); got != want {
			t.Errorf("AES-%d: got %s, want %s", size*8, got, want)
		}
		var s Scratch
		if !ccmOpen(block, tag, seq(0x10, 11), msg, seq(0x40, 32), &s) || !bytes.Equal(msg, plain) {
			t.Errorf("AES-%d: does not open again", size*8)
		}
	}
}

// The worked examples Microsoft published for dialects 3.0 and 3.1.1; their
// encryption key is the client's.
func TestDerive(t *testing.T) {
	var preauth Preauth
	copy(preauth[:], unhex(t, "0DD13628CC3ED218EF9DF9772D436D0887AB9814BFAE63A80AA845F36909DB79"+
		"28622DDDAD522D9751640A459762C5A9D6BB084CBB3CE6BDADEF5D5BCE3C6C01"))
	for _, v := range []struct {
		dialect                   smb2.Dialect
		key, sign, c2s, s2c, appl string
	}{
		{smb2.Dialect300, "7CD451825D0450D235424E44BA6E78CC", "0B7E9C5CAC36C0F6EA9AB275298CEDCE",
			"FAD27796665B313EBB578F388632B4F7", "B0F0427F7CEB416D1D9DCC0CD4F99447", "BB23A4575AA26C721AF525AF15A87B4F"},
		{smb2.Dialect311, "270E1BA896585EEB7AF3472D3B4C75A7", "73FE7A9A77BEF0BDE49C650D8CCB5F76",
			"629BCBC54422A0F572B97F45989B6073", "E2AF0DCEFAC68DA71A0DFBD0D1350D74", "6D7AD7954E9EC61E907B4D473DC178FF"},
	} {
		k := Derive(v.dialect, smb2.CipherAES128GCM, unhex(t, v.key), &preauth)
		for name, pair := range map[string][2][]byte{
			"signing":          {k.Signing[:], unhex(t, v.sign)},
			"server to client": {k.ServerToClient, unhex(t, v.s2c)},
			"client to server": {k.ClientToServer, unhex(t, v.c2s)},
			"application":      {k.Application[:], unhex(t, v.appl)},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Errorf("%s %s: %x, want %x", v.dialect, name, pair[0], pair[1])
			}
		}
	}
	k := Derive(smb2.Dialect210, 0, []byte("short"), nil)
	if want := SessionKey([]byte("short")); k.Signing != want || k.ClientToServer != nil {
		t.Errorf("2.1: %+v", k)
	}
	// 3.1.1 with AES-256 derives the cipher keys from the whole key.
	full := bytes.Repeat([]byte{7}, 32)
	k = Derive(smb2.Dialect311, smb2.CipherAES256GCM, full, &preauth)
	if !bytes.Equal(k.ClientToServer, KDF(full, []byte("SMBC2SCipherKey\x00"), preauth[:], 256)) || len(k.ServerToClient) != 32 {
		t.Error("AES-256 keys")
	}
}
