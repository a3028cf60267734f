// Package unary makes unary gRPC calls on one HTTP/2 connection: what a call of an actor is. It does without what gRPC
// has for services with many servers (name resolution, balancing, retries, service configs, interceptors, streams), and therefore
// a call costs a dozen allocations instead of eighty, and two goroutines less have to be woken on its way. Frames and headers are
// read and written by golang.org/x/net/http2.
//
// Unlike gRPC, it knows of every call that failed whether the server can have seen it: see Call.Left.
//
//	conn, err := unary.New(ctx, tcp, unary.Options{Authority: "10.0.0.7:10002"})
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//	call := &unary.Call{Method: "/ray.rpc.CoreWorkerService/PushTask", Request: framed}
//	conn.Start(call)
//	<-call.Done()
//	reply, err := call.Reply, call.Err
//
// The protocol is that of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md over RFC 9113.
package unary
