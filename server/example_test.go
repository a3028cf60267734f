package server_test

import (
	"log"
	"net/http"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/server"
)

// The API inside a server of one's own.
func Example() {
	conn, err := connector.New(connector.Config{})
	if err != nil {
		log.Fatal(err)
	}
	org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
	if err != nil {
		log.Fatal(err)
	}
	api := server.New(conn, org, server.Config{}).Handler()
	log.Fatal(http.ListenAndServe("127.0.0.1:8002", http.StripPrefix("/ray", api))) //nolint:gosec // an example
}
