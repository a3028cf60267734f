// Package connector owns the one connection of a process to a Ray cluster.
//
// Everything else in the process is handed a [Connector] and asks it for the client: nobody opens a session of their
// own. New and FromEnv do no I/O; Connect opens the connection once however many callers ask, and from then on a
// supervisor watches it, notices its loss and opens a new one, until Close. Start does the same in the background for a
// cluster that may not be there yet.
//
// A connection is two links: the session (`ray://`) and, where the network allows, the cluster's control store with
// direct calls. Each new session has the next epoch; refs and handles of an earlier one fail, named actors go on.
package connector
