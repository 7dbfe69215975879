// Package bench measures the relay beside the programs that people use today
// for the same work: HAProxy, nginx, websockify and chains of them.
//
// A run has one process that directs (Run), and for each measurement three
// more kinds: the system under test, the viewers and the VNC servers, so that
// what the load generator costs is never counted. The last two are this same
// program under another verb (Work).
package bench
