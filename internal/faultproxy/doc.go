// Package faultproxy is a TCP proxy for fault tests. It stands between a client and a server, and breaks what passes
// through it: it resets connections, swallows bytes, delays them, or turns new connections away.
//
//	proxy := faultproxy.New(t, head.ClientAddress())
//	session, err := ray.Open(ctx, ray.Config{Address: proxy.Address(), Namespace: "test"})
//	...
//	proxy.Cut()    // every connection is reset
//	proxy.Stall()  // sockets stay open, nothing arrives
//	proxy.Resume()
package faultproxy
