package dtyp

import "fmt"

// GUID is held in wire order: Data1 to Data3 little-endian, then Data4
// (MS-DTYP 2.3.4.2). Comparing two GUIDs with == compares the wire bytes.
type GUID [16]byte

// String prints the registry form in lower case without braces
// (MS-DTYP 2.3.4.3).
func (g GUID) String() string {
	return fmt.Sprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%x-%x",
		g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8:10], g[10:])
}

// IsZero reports whether every byte is zero.
func (g GUID) IsZero() bool { return g == GUID{} }
