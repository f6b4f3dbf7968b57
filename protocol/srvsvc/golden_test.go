package srvsvc

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gabion/protocol/dcerpc"
)

// golden returns a stub captured from smbtorture, rpcclient and smbd.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestsOfARealClient(t *testing.T) {
	for name, decode := range map[string]func(dcerpc.Stub) (EnumRequest, error){
		"share_enum_request": DecodeShareEnum, "share_enum_sticky_request": DecodeShareEnum,
		"session_enum_request": DecodeSessionEnum, "file_enum_request": DecodeFileEnum,
		"connection_enum_request": DecodeConnectionEnum, "transport_enum_request": DecodeTransportEnum,
		"disk_enum_request": DecodeDiskEnum,
	} {
		if q, err := decode(dcerpc.Stub{Data: golden(t, name)}); err != nil || q.MaxLength == 0 && name != "disk_enum_request" {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	if q, err := DecodeConnectionEnum(dcerpc.Stub{Data: golden(t, "connection_enum_request")}); q.Qualifier != "IPC$" {
		t.Errorf("connections: %+v, %v", q, err)
	}
	if name, level, err := DecodeShareGetInfo(dcerpc.Stub{Data: golden(t, "share_get_info_request")}); name == "" || level > 2 || err != nil {
		t.Errorf("share: %q at %d, %v", name, level, err)
	}
	if level, err := DecodeServerGetInfo(dcerpc.Stub{Data: golden(t, "server_get_info_request")}); level != 101 || err != nil {
		t.Errorf("server: level %d, %v", level, err)
	}
	if name, kind, flags, err := DecodeName(dcerpc.Stub{Data: golden(t, "name_validate_request")}); name != "share" || kind != NameShare || flags != 0 || err != nil {
		t.Errorf("name: %q, %d, %d, %v", name, kind, flags, err)
	}
	if device, err := DecodeShareName(dcerpc.Stub{Data: golden(t, "share_check_request")}); !strings.HasPrefix(device, `C:\`) || err != nil {
		t.Errorf("device: %q, %v", device, err)
	}
}

func TestDisksAsTheReferenceListsThem(t *testing.T) {
	q, err := DecodeDiskEnum(dcerpc.Stub{Data: golden(t, "disk_enum_request")})
	if err != nil {
		t.Fatal(err)
	}
	got, want := q.EncodeDiskEnum([]string{"C:"}, Success), golden(t, "disk_enum_response")
	// Referent ids are arbitrary.
	for _, b := range [][]byte{got, want} {
		b[4], b[len(b)-12] = 0, 0
	}
	if !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
}

func FuzzRealRequests(f *testing.F) {
	names, err := filepath.Glob("testdata/*_request.hex")
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range names {
		f.Add(golden(f, strings.TrimSuffix(filepath.Base(n), ".hex")))
	}
	f.Fuzz(func(t *testing.T, stub []byte) {
		DecodeShareEnum(dcerpc.Stub{Data: stub})
		DecodeSessionEnum(dcerpc.Stub{Data: stub})
		DecodeFileEnum(dcerpc.Stub{Data: stub})
		DecodeConnectionEnum(dcerpc.Stub{Data: stub})
		DecodeDiskEnum(dcerpc.Stub{Data: stub})
		DecodeShareGetInfo(dcerpc.Stub{Data: stub})
		DecodeServerGetInfo(dcerpc.Stub{Data: stub})
		DecodeFileID(dcerpc.Stub{Data: stub}, true)
		DecodeSessionDel(dcerpc.Stub{Data: stub})
	})
}
