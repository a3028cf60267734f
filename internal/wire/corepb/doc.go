// Package corepb holds slim stubs of Ray's internal protocol: the GCS's actor table, PushTask, and what a worker serves.
// core.proto says what is in it and why; `make generate` writes the rest and checks every field against the Ray wheel.
package corepb
