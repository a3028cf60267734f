package organism

// Constants of the performance formulas.
const (
	startCapability   = 0.5
	smoothing         = 0.1 // weight of the newest task in every moving average
	successWeight     = 0.6
	qualityWeight     = 0.4
	complexityWeight  = 0.1
	defaultComplexity = 0.5

	// QualityWindow is the number of latest qualities that an agent keeps and averages.
	QualityWindow = 20
	// MaxMemHits bounds [Outcome.MemHits], and through it mem_util.
	MaxMemHits = 5
)

// Performance is what an agent knows about its own work. There are two values of capability: Capability drives the
// selection of agents, CapabilityScore is reported. Start with [NewPerformance]. Not safe for concurrent use.
type Performance struct {
	// Capability is c: a moving average of success and quality, 0 to 1.
	Capability float64
	// CapabilityScore adds the success rate and the average quality to c, 0 to 1.
	CapabilityScore float64
	// MemHits is u: a moving average of the memory hits per task, 0 to [MaxMemHits].
	MemHits float64
	// MemUtil is reported as mem_util: u, and while a task runs an estimate from its complexity. It is not a ratio.
	MemUtil float64
	// Tasks and Successes count since the start or the last reset.
	Tasks, Successes int
	// MemWrites and MemWriteHits count what the outcomes reported.
	MemWrites, MemWriteHits int
	// Qualities are those of the last [QualityWindow] tasks, oldest first.
	Qualities []float64
}

// NewPerformance returns that of an agent which has done nothing yet: both capabilities 0.5, everything else 0.
func NewPerformance() Performance {
	return Performance{Capability: startCapability, CapabilityScore: startCapability}
}

// Begin notes that a task of that complexity was started: mem_util grows by a tenth of it, up to 1. [Performance.Record]
// puts the measured value in its place.
func (p *Performance) Begin(complexity float64) {
	p.MemUtil = min(1, p.MemUtil+complexityWeight*complexity)
}

// Record counts a task and its outcome, which must be valid ([Outcome.Validate]). With s 1 for success and 0 otherwise,
// q the quality, SR the share of successes and Q the mean of the last 20 qualities, both including this task:
//
//	c                <- 0.9*c + 0.1*(0.6*s + 0.4*q)
//	u                <- 0.9*u + 0.1*mem_hits
//	mem_util         <- u
//	capability_score <- 0.9*c + 0.1*(0.6*SR + 0.4*Q)
func (p *Performance) Record(o Outcome) {
	s := 0.0
	if o.Success {
		s = 1
		p.Successes++
	}
	p.Tasks++
	p.MemWrites += o.MemWrites
	p.MemWriteHits += o.MemWriteHits

	p.Capability = average(p.Capability, successWeight*s+qualityWeight*o.Quality)
	p.MemHits = average(p.MemHits, float64(o.MemHits))
	p.MemUtil = p.MemHits

	p.Qualities = append(p.Qualities, o.Quality)
	if excess := len(p.Qualities) - QualityWindow; excess > 0 {
		p.Qualities = append(p.Qualities[:0], p.Qualities[excess:]...)
	}
	p.CapabilityScore = average(p.Capability, successWeight*p.SuccessRate()+qualityWeight*p.AverageQuality())
}

// SuccessRate is Successes / Tasks; 0 before the first task.
func (p *Performance) SuccessRate() float64 {
	if p.Tasks == 0 {
		return 0
	}
	return float64(p.Successes) / float64(p.Tasks)
}

// AverageQuality is the mean of Qualities; 0 before the first task.
func (p *Performance) AverageQuality() float64 {
	if len(p.Qualities) == 0 {
		return 0
	}
	sum := 0.0
	for _, quality := range p.Qualities {
		sum += quality
	}
	return sum / float64(len(p.Qualities))
}

// LatestQuality is the quality of the last task; 0 before the first.
func (p *Performance) LatestQuality() float64 {
	if len(p.Qualities) == 0 {
		return 0
	}
	return p.Qualities[len(p.Qualities)-1]
}

func average(old, latest float64) float64 {
	return (1-smoothing)*old + smoothing*latest
}
