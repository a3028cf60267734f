package rayletipc_test

import (
	"fmt"
	"net"

	"github.com/seedcore/seedcore/internal/wire/rayletipc"
)

func Example() {
	worker, raylet := net.Pipe()
	go func() { // the raylet's side
		_, body, _ := rayletipc.ReadFrame(raylet)
		m, _ := rayletipc.UnmarshalRegisterClientRequest(body)
		answer := &rayletipc.RegisterClientReply{Success: m.IP == "127.0.0.1", Port: 10002}
		_ = rayletipc.WriteFrame(raylet, rayletipc.TypeRegisterClientReply, answer.Marshal())
	}()
	request := &rayletipc.RegisterClientRequest{WorkerID: make([]byte, 28), PID: 1234, IP: "127.0.0.1"}
	if err := rayletipc.WriteFrame(worker, rayletipc.TypeRegisterClientRequest, request.Marshal()); err != nil {
		fmt.Println(err)
		return
	}
	typ, body, err := rayletipc.ReadFrame(worker)
	if err != nil || typ != rayletipc.TypeRegisterClientReply {
		fmt.Println(typ, err)
		return
	}
	answer, err := rayletipc.UnmarshalRegisterClientReply(body)
	fmt.Println(answer.Success, answer.Port, err)
	// Output: true 10002 <nil>
}
