// Package bench measures the relay and the balancer beside the programs that
// people use today for the same work: HAProxy, nginx, websockify and chains of
// them.
//
// A run has one process that directs (Relay or HTTP), and for each measurement
// more of them: the system under test, and those that load it, so that what they
// cost is never counted. Beside a relay these are the viewers and the VNC
// servers, beside a balancer wrk or our own clients, and nginx as the upstreams.
// Viewers, VNC servers and clients are this same program under another verb
// (Work).
//
// API and Cluster compare with nobody: they start edges on databases of their own
// and are the agents, the viewers and the clients themselves.
package bench
