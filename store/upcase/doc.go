// Package upcase compares file names without regard to case, the way NTFS does:
// by a table of 65,536 entries that gives each UTF-16 code unit its upper-case
// form. A volume stores the table it was made with and uses it for its life, so a
// newer Unicode never makes two stored names collide.
//
// The table holds the simple mappings of the Basic Multilingual Plane and nothing
// else: no locale, no expansion (ß stays ß), no mapping of surrogates, hence none
// outside the plane. As in Windows, a letter is mapped only if its upper-case form
// maps back to it, so dotless ı, long ſ and the micro sign stay what they are; the
// final sigma is the one exception.
//
// The key of a name is its upcased form in WTF-8 (see package dtyp). Two names are
// the same if their keys are equal bytes; keys sort in the order of code points.
package upcase
