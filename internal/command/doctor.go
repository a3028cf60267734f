package command

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/seedcore/seedcore/internal/doctor"
)

type doctorCommand struct {
	Address string        `arg:"" optional:"" help:"Cluster to look at instead of that of RAY_ADDRESS."`
	JSON    bool          `help:"Print one JSON object." name:"json"`
	Timeout time.Duration `help:"Longest time to find out." default:"2m"`
}

// Run ends with code 1 when a step failed.
func (c *doctorCommand) Run(ctx context.Context, s streams) error {
	get := os.Getenv
	if c.Address != "" {
		get = with(get, "RAY_ADDRESS", c.Address)
	}
	cfg, err := settings(get)
	if err != nil {
		return usageError{err}
	}
	if c.Timeout <= 0 {
		return usageError{fmt.Errorf("--timeout is %s; give a time above 0", c.Timeout)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	findings := doctor.Examine(ctx, cfg)
	if c.JSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(struct {
			Healthy  bool             `json:"healthy"`
			Findings []doctor.Finding `json:"findings"`
		}{doctor.Healthy(findings), findings})
	} else {
		w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
		for _, f := range findings {
			fmt.Fprintf(w, "%s\t%s\t%s\n", f.Status, f.Step, f.Found)
			if f.Cure != "" {
				fmt.Fprintf(w, "\t\t-> %s\n", f.Cure)
			}
		}
		err = w.Flush()
	}
	if err == nil && !doctor.Healthy(findings) {
		return errSilent
	}
	return err
}
