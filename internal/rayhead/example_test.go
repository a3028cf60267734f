package rayhead_test

import (
	"context"
	"fmt"
	"log"

	"github.com/seedcore/seedcore/internal/rayhead"
)

func Example() {
	ctx := context.Background()
	head, err := rayhead.Start(ctx, rayhead.Config{Python: ".venv/bin/python", NumCPUs: 4})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = head.Stop(ctx) }()
	fmt.Println("the GCS answers on", head.GCSAddress(), "and the Ray Client server on", head.ClientAddress())
}
