// Package server is the HTTP face of an organism: tasks in, results out, and what is known of the connection and the
// actors, told as it was observed.
//
// Paths, bodies and keys are those of the Python SeedCore. Failures have real status codes; Config.CompatStatus answers
// them with 200 for clients that look at the body only. Probes never wait for Ray: they report what the background
// checks saw last.
package server
