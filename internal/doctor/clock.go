package doctor

import (
	"context"
	"fmt"
	"net/mail"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// formatDate is a pure-Python function of every installation that tells the time, in whole seconds.
var formatDate = ray.Function{Module: "email.utils", Name: "formatdate"}

func clusterTime(ctx context.Context, session *ray.Session) (time.Time, error) {
	ref, err := session.Submit(ctx, formatDate)
	if err != nil {
		return time.Time{}, err
	}
	defer ref.Release()
	v, err := session.Get(ctx, ref)
	if err != nil {
		return time.Time{}, err
	}
	text, ok := v.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("the cluster tells the time by a %T", v)
	}
	return mail.ParseDate(text)
}
