package ray

import (
	"context"
	"sync"
)

// Progress tells how much of a value has crossed the connection, in bytes.
type Progress struct {
	// Upload: a value or the arguments of a call travel to the cluster; otherwise a value comes from there.
	Upload bool
	// Done of Total bytes are handed to the connection, or arrived. After a cut an upload begins again at 0, and a download
	// goes on; where the server does not let it, it begins again, too.
	Done, Total int64
}

type progressKey struct{}

// WithProgress returns a context that makes Put, Submit, Call and Get report how far their transfer is, after each piece
// of up to 5 MiB (1 MiB where more than 5 are sent). report is called from the goroutines that serve the session, one call at a
// time: it must be quick, and must not use the session. Of several Gets that share a transfer, the first one's is told. After
// the caller's context has ended, report may be called on.
func WithProgress(ctx context.Context, report func(Progress)) context.Context {
	if report == nil {
		return context.WithValue(ctx, progressKey{}, report)
	}
	var one sync.Mutex // held by who reports: sender, receiver and large gets are goroutines of their own
	return context.WithValue(ctx, progressKey{}, func(p Progress) {
		one.Lock()
		defer one.Unlock()
		report(p)
	})
}

func progressOf(ctx context.Context) func(Progress) {
	report, _ := ctx.Value(progressKey{}).(func(Progress))
	return report
}

// reportSent tells the caller of r how much of its value or arguments was handed to the connection.
func (r *request) reportSent(done, total int) {
	if r.progress != nil && r.object == nil && total > 0 {
		r.progress(Progress{Upload: true, Done: int64(done), Total: int64(total)})
	}
}
