// Package fscc holds the structures of MS-FSCC that travel inside SMB2 QUERY_INFO,
// SET_INFO, QUERY_DIRECTORY, CHANGE_NOTIFY and IOCTL: file and file-system
// information classes, directory entries, FSCTL inputs and outputs, extended
// attributes, reparse points; and the constants and the rules for names and
// wildcards that go with them.
//
// A class is named as in the document (FileBasicInformation is the number 4) and its
// structure without the FILE_ prefix (BasicInformation is FILE_BASIC_INFORMATION).
//
// Every structure has Append, which appends its wire form and never fails, and
// Decode, which checks the length and returns an error that is ErrMalformed;
// nothing keeps a reference to the bytes it decoded unless its comment says so.
// Structures of fixed size are generated from the table in fixed.txt (zfixed.go); each has a
// constant for its size. What consists of entries that point to one another
// (directories, streams, extended attributes, change notification…) is written by a
// list type that knows the alignment and the room left.
//
// Strings are WTF-8, see package dtyp.
package fscc

//go:generate go test -run TestGenerated -generate
