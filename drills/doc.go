// Package drills breaks a real Ray under a real load, and looks at what becomes of the connection, the calls and the
// actors. It has no code of its own but tests, and a server whose agents write down each task that they run.
//
//	make test PKG=./drills                      # some of the drills, one round each, on one head: part of make test
//	make drills                                 # all of them, three rounds each; writes bench/drills.md
//	make drills ARGS='-run Drills/Ray/black'     # some of them; the others keep their lines in the report
//	make drills ARGS='-drills.seed 42'           # with the moments of an earlier run
//
// While a drill runs, 200 callers call agents in Go and an actor in Python, directly and through the session, about once
// a second each, with a deadline of 20 s. Every call has a number, which the actor appends to a file before it answers.
// After every round the connection must be up again without any help, every call must have ended in time as done, not
// sent, maybe or refused by the actor, the file must agree with what the callers were told, and Ray's own list of actors
// must be what it was before.
package drills
