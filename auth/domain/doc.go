// Package domain is the array as a member of an Active Directory: it logs on with the
// keys of its key table, as any computer of the domain does.
//
//	Verify     goes through everything that a client's logon needs, and names the
//	           first cause why one would fail
//	Directory  resolves names and SIDs by LDAP, signed and sealed
//
// Serving files needs none of this: tickets are accepted without asking anybody.
package domain
