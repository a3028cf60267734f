// Package pushtask encodes and decodes the messages of the one RPC that every call of an actor is, PushTask, by hand: with
// two allocations instead of dozens, and with one copy of a large value instead of two. What it writes and reads is what
// the generated code of corepb does. Other messages pass through to gRPC's own codec.
//
// Decoded bytes and text lie in the message that came, which is kept for as long as any of them is. Encoding a reply does
// not copy large results; they must not be changed any more.
//
//	framed, err := pushtask.MarshalRequest(unary.HeadLen, request)
//	...
//	var reply pushtask.Reply
//	err = reply.Unmarshal(call.Reply)
package pushtask
