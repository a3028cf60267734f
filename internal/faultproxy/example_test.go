package faultproxy_test

import (
	"fmt"
	"log"

	"github.com/seedcore/seedcore/internal/faultproxy"
)

func Example() {
	proxy, err := faultproxy.Open("127.0.0.1:10001")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	fmt.Println("connect to", proxy.Address())
	proxy.Cut() // whoever is connected by now sees a reset
}
