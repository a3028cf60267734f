// Package rayletipc is the wire format between a worker process and its raylet: frames over a unix socket whose bodies
// are flatbuffers.
//
// It turns bytes into values and back and decides nothing: connecting, deadlines and what to do next belong to the
// caller.
//
//	err := rayletipc.WriteFrame(conn, rayletipc.TypeRegisterClientRequest, (&rayletipc.RegisterClientRequest{
//		WorkerID: workerID, PID: int64(os.Getpid()), IP: "127.0.0.1",
//	}).Marshal())
//	...
//	typ, body, err := rayletipc.ReadFrame(conn)
//	if typ == rayletipc.TypeRegisterClientReply {
//		reply, err := rayletipc.UnmarshalRegisterClientReply(body)
//		...
//	}
//
// The decoders are total: any input gives a value or an error wrapping ErrMalformed, never a panic, and what they
// allocate is bounded by the input. The layout is that of Ray 2.60 (RegisterClientRequest without startup_token);
// earlier versions have another one, which cannot be told apart from the bytes alone, so that the caller has to know.
package rayletipc
