package organism

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// OrganReport is an organ's own account of itself, or why there is none.
type OrganReport struct {
	OrganStatus
	// Problem is empty when the organ answered.
	Problem string
}

// Status asks every organ for its status, many at once, and takes no longer than Options.CallTimeout in all. ErrNotReady
// says that no organ was met yet, or that the connection is down.
func (o *Organism) Status(ctx context.Context) ([]OrganReport, error) {
	client, namespace, err := o.link()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.opts.CallTimeout)
	defer cancel()
	organs := o.config.Organs
	reports := make([]OrganReport, len(organs))
	unmet := make([]error, len(organs))
	_ = each(len(organs), asksAtOnce, func(i int) error { // each organ's problem stands in its report
		err := o.ours(organs[i].ID)
		if unmet[i] = err; err == nil {
			reports[i].OrganStatus, err = organStatus(ctx, client, namespace, organs[i].ID)
		}
		if err != nil {
			reports[i].OrganID, reports[i].OrganType, reports[i].Problem = organs[i].ID, organs[i].Type, err.Error()
		}
		return nil
	})
	for _, err := range unmet {
		if err == nil {
			return reports, nil
		}
	}
	return nil, unmet[0]
}

func organStatus(ctx context.Context, client *ray.Client, namespace, id string) (OrganStatus, error) {
	v, err := client.Call(ctx, namespace, id, "get_status")
	if err != nil {
		return OrganStatus{}, fmt.Errorf("organ %s: %w", id, err)
	}
	return newOrganStatus(id, v)
}
