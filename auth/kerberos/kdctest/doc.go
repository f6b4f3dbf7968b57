// Package kdctest stands in for a domain controller and a client in tests: KDC issues
// tickets with a signed PAC, right or wrong in any way a test asks for, and
// Client shows them and goes through the exchange as an initiator does.
//
// It is written against gokrb5's primitives, not against package kerberos, so that
// an error there is not repeated here.
package kdctest
