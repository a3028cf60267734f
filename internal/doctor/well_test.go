package doctor_test

import (
	"testing"

	"github.com/seedcore/seedcore/internal/doctor"
	"github.com/seedcore/seedcore/internal/raytest"
)

func TestAWellCluster(t *testing.T) {
	findings := examine(t, "ray://"+raytest.Head(t).ClientAddress())
	if !doctor.Healthy(findings) || len(findings) != 11 {
		t.Errorf("%d findings: %+v", len(findings), findings)
	}
	for _, f := range findings {
		if f.Status != doctor.OK || f.Found == "" || f.Cure != "" {
			t.Errorf("%+v", f)
		}
	}
}
