// Package rayhead starts a local Ray head as a supervised child: for `seedcore up`, and for tests on a real Ray.
//
// The head listens on the loopback interface, has a temporary directory of its own and takes Ray's own ports where
// they are free and others where they are not. It never outlives its owner: a small guard process stands between the
// two and ends every process of the head when it is asked to, when the head ends by itself, and when the owner is gone,
// even by SIGKILL.
//
//	head, err := rayhead.Start(ctx, rayhead.Config{Python: ".venv/bin/python"})
//	if err != nil {
//		return err
//	}
//	defer head.Stop(context.Background())
//	fmt.Println("Ray listens on", head.ClientAddress())
//
// It works on Linux only: the guard needs /proc and child subreapers.
package rayhead
