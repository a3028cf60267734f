package peer

import (
	"context"
	"fmt"
	"os"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// CreateGoActors makes detached actors of a class that this program has registered with package worker, one for each
// name. The program itself is what they run; opts are what they share besides.
func CreateGoActors(ctx context.Context, session *ray.Session, class string, opts ray.ActorOptions, names ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	pkg, err := ray.BinaryPackage(self)
	if err != nil {
		return err
	}
	uri, err := session.UploadPackage(ctx, pkg)
	if err != nil {
		return err
	}
	for _, c := range worker.Classes() {
		if c.Name != class {
			continue
		}
		stub, err := session.GoClass(ctx, c.Name, c.Methods)
		if err != nil {
			return err
		}
		opts.Detached, opts.RuntimeEnv = true, ray.GoRuntimeEnv(uri)
		for _, opts.Name = range names {
			if _, err := session.CreateActor(ctx, stub, opts); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no class %q is registered", class)
}
