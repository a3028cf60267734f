package unary_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// BenchmarkCall is of one small call after another; allocations are those of both sides.
func BenchmarkCall(b *testing.B) {
	c := serve(b).dial(b, unary.Options{}, nil)
	message, err := proto.Marshal(wrapperspb.Bytes([]byte("abc")))
	if err != nil {
		b.Fatal(err)
	}
	request := framed(string(message))
	b.ReportAllocs()
	for b.Loop() {
		call := &unary.Call{Method: prefix + "Echo", Request: request}
		c.Start(call)
		<-call.Done()
		if call.Err != nil {
			b.Fatal(call.Err)
		}
	}
}
