// Package ad brings up a real Active Directory, Samba's, on loopback for the tests of
// Kerberos, and holds those tests: smbclient, smbtorture, MIT's tools and gokrb5 as
// clients of Gabion in a domain.
//
// The domain is GABION.TEST with the hosts HV1$ and HV2$ in the group "Hyper-V
// Hosts", their cluster's CLUSTER1$, the people alice and bob, the backup product's account veeam in
// "Backup Operators Gabion", and the array's account FILESRV$ with its keytab.
// ad-up.sh makes it in some seconds and needs root, because clients look for a
// domain controller at fixed ports.
package ad
