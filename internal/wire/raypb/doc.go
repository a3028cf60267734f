// Package raypb holds the stubs of the Ray Client protocol (ray://), whole and as the Ray wheel describes it.
// ray_client.binpb is the descriptor that they were generated from, to compare with that of another wheel.
package raypb
