// Package relay is the wire format in which one array fetches from another what an
// offload token stands for. It is Gabion's own. It runs inside TLS, one request at a time:
//
//	B → A   Request  magic "GBR1", token [512], offset u64, length u64
//	A → B   Record…  kind u8, reserved [3], count u32, then count bytes of data for kind Data
//
// All integers are little-endian. Records tell in order and without gaps what lies in
// [offset, offset+length): Data is bytes, Hole is count units of HoleUnit bytes that are all
// zeros, and the last record is End, or Failed with a code in count. Holes larger than one record
// tells are several.
package relay
