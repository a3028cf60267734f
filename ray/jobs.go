package ray

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrJobExists means: a job of that submission id exists already. Nothing was started.
var ErrJobExists = errors.New("ray: a job of that submission id exists")

// JobStatus is how far a submitted job is.
type JobStatus string

// The states of a job. The last three are final.
const (
	JobPending   JobStatus = "PENDING"
	JobRunning   JobStatus = "RUNNING"
	JobStopped   JobStatus = "STOPPED"
	JobSucceeded JobStatus = "SUCCEEDED"
	JobFailed    JobStatus = "FAILED"
)

// Final reports whether the status will not change any more.
func (s JobStatus) Final() bool { return s == JobStopped || s == JobSucceeded || s == JobFailed }

// JobSpec is a program for the cluster to run.
type JobSpec struct {
	// Entrypoint is the shell command, run on a node of the cluster. Required.
	Entrypoint string
	// SubmissionID names the job; one that exists already, also of a job that has ended, is refused: ErrJobExists. Empty: Ray
	// makes one up.
	SubmissionID string
	// RuntimeEnv of the job; packages in it must have been uploaded before, by Dashboard.UploadPackage or through a session.
	RuntimeEnv *RuntimeEnv
	// Metadata is kept with the job.
	Metadata map[string]string
	// NumCPUs, NumGPUs, Memory (bytes) and Resources are reserved for the command itself. All zero: it runs on the head.
	NumCPUs, NumGPUs float64
	Memory           int64
	Resources        map[string]float64
}

// JobInfo is what the dashboard tells of a job.
type JobInfo struct {
	Type         string            `json:"type"`          // SUBMISSION for what SubmitJob started; DRIVER for a session or another driver
	JobID        string            `json:"job_id"`        // hex, of a driver; empty until a submitted program connects to Ray
	SubmissionID string            `json:"submission_id"` // of a submitted job
	Status       JobStatus         `json:"status"`
	Entrypoint   string            `json:"entrypoint"`
	Message      string            `json:"message"`    // why it has the status, such as the exit code of the command
	ErrorType    string            `json:"error_type"` // Ray's word for why it failed; mostly empty
	StartTimeMS  int64             `json:"start_time"` // Unix
	EndTimeMS    int64             `json:"end_time"`   // Unix; 0 while it runs
	Metadata     map[string]string `json:"metadata"`
}

func (j JobSpec) request() (map[string]any, error) {
	errs := []error{
		option(strings.TrimSpace(j.Entrypoint) != "", "entrypoint: missing"),
		option(isAmount(j.NumCPUs) && isAmount(j.NumGPUs) && j.Memory >= 0, "num cpus %v, num gpus %v, memory %d: not all amounts", j.NumCPUs, j.NumGPUs, j.Memory),
		option(url.PathEscape(j.SubmissionID) == j.SubmissionID, "submission id: %q has characters that need escaping", j.SubmissionID),
	}
	body := map[string]any{"entrypoint": j.Entrypoint}
	set := func(name string, value any, present bool) {
		if present {
			body[name] = value
		}
	}
	set("submission_id", j.SubmissionID, j.SubmissionID != "")
	set("metadata", j.Metadata, len(j.Metadata) > 0)
	set("entrypoint_num_cpus", j.NumCPUs, j.NumCPUs > 0)
	set("entrypoint_num_gpus", j.NumGPUs, j.NumGPUs > 0)
	set("entrypoint_memory", j.Memory, j.Memory > 0)
	set("entrypoint_resources", j.Resources, len(j.Resources) > 0)
	if j.RuntimeEnv != nil {
		env, err := j.RuntimeEnv.options()
		if err = errors.Join(j.RuntimeEnv.forActorsOnly(), err); err != nil {
			errs = append(errs, fmt.Errorf("runtime env: %w", err))
		}
		body["runtime_env"] = env
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w: job: %w", ErrInvalidOption, err)
	}
	return body, nil
}

// UploadPackage makes a package available in the cluster, unless it is there, and returns its URI for the RuntimeEnv of a job:
// Session.UploadPackage without a session. The cluster keeps it for ten minutes from then on, and after that for as long as
// something uses it. Ray's dashboard takes at most 100 MiB. Whether the cluster's nodes can run the program of a
// BinaryPackage is not looked at.
func (d *Dashboard) UploadPackage(ctx context.Context, p *Package) (uri string, err error) {
	if err := p.check(); err != nil {
		return "", &CallError{Target: "dashboard upload package", Sent: SentNo, Err: fmt.Errorf("%w: package: %w", ErrInvalidOption, err)}
	}
	uri = p.URI()
	path := "/api/packages/" + strings.Replace(uri, "://", "/", 1)
	// To ask for it is to pin it, also where it is not there yet.
	err = d.do(ctx, "look for package", http.MethodGet, path, nil, nil)
	if err == nil {
		return uri, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return "", err
	}
	data, err := p.archive()
	if err != nil {
		return "", &CallError{Target: "dashboard upload package", Sent: SentNo, Err: err}
	}
	if err := d.do(ctx, "upload package", http.MethodPut, path, data, nil); err != nil {
		return "", err
	}
	return uri, nil
}

// SubmitJob starts a job and returns its submission id. It does not wait for the job.
func (d *Dashboard) SubmitJob(ctx context.Context, spec JobSpec) (submissionID string, err error) {
	body, err := spec.request()
	if err != nil {
		return "", &CallError{Target: "dashboard submit job", Sent: SentNo, Err: err}
	}
	var answer struct {
		SubmissionID string `json:"submission_id"`
	}
	if err := d.do(ctx, "submit job", http.MethodPost, "/api/jobs/", body, &answer); err != nil {
		if spec.SubmissionID != "" && strings.Contains(err.Error(), "submission_id "+spec.SubmissionID+" already exists") {
			err = &CallError{Target: "dashboard submit job", Sent: SentNo, Err: fmt.Errorf("%w: %s", ErrJobExists, spec.SubmissionID)}
		}
		return "", err
	}
	return answer.SubmissionID, nil
}

// jobPath is where the dashboard has a job. Without an id it has the list of all jobs there.
func jobPath(id string) (string, error) {
	if id == "" || id == "." || id == ".." {
		return "", fmt.Errorf("%w: %q is no id of a job", ErrInvalidOption, id)
	}
	return "/api/jobs/" + url.PathEscape(id), nil
}

// doJob makes a request that is about one job.
func (d *Dashboard) doJob(ctx context.Context, target, method, id, what string, answer any) error {
	path, err := jobPath(id)
	if err != nil {
		return &CallError{Target: "dashboard " + target, Sent: SentNo, Err: err}
	}
	return d.do(ctx, target+" "+id, method, path+what, nil, answer)
}

// JobInfo returns what is known of a job; ErrNotFound if nothing is.
func (d *Dashboard) JobInfo(ctx context.Context, id string) (JobInfo, error) {
	var info JobInfo
	err := d.doJob(ctx, "job", http.MethodGet, id, "", &info)
	return info, err
}

// firstJobPause and lastJobPause are the pauses between two looks at a job that is waited for.
const (
	firstJobPause = 200 * time.Millisecond
	lastJobPause  = 3 * time.Second
)

// WaitJob waits until the status of a job is final, and returns what is known of it then. A job that failed or was stopped is
// no error: look at its Status and Message. ErrNotFound if there is no such job. It waits as long as ctx allows.
func (d *Dashboard) WaitJob(ctx context.Context, id string) (JobInfo, error) {
	pace := pacer{firstJobPause, lastJobPause}
	for {
		info, err := d.JobInfo(ctx, id)
		if err != nil || info.Status.Final() {
			return info, err
		}
		if err := pace.wait(ctx); err != nil {
			return info, &CallError{Target: "dashboard wait for job " + id, Sent: SentYes, Err: err}
		}
	}
}

// StopJob asks the cluster to end a job, and reports whether it was running; WaitJob says when it has ended. ErrNotFound if
// there is no such job.
func (d *Dashboard) StopJob(ctx context.Context, id string) (bool, error) {
	var answer struct {
		Stopped bool `json:"stopped"`
	}
	err := d.doJob(ctx, "stop job", http.MethodPost, id, "/stop", &answer)
	return answer.Stopped, err
}

// DeleteJob makes the cluster forget a job whose status is final. ErrNotFound if there is no such job.
func (d *Dashboard) DeleteJob(ctx context.Context, id string) error {
	return d.doJob(ctx, "delete job", http.MethodDelete, id, "", nil)
}

// JobLogs returns what a job has printed so far. ErrNotFound if there is no such job.
func (d *Dashboard) JobLogs(ctx context.Context, id string) (string, error) {
	var answer struct {
		Logs string `json:"logs"`
	}
	err := d.doJob(ctx, "logs of job", http.MethodGet, id, "/logs", &answer)
	return answer.Logs, err
}

// FollowJobLogs copies what a job prints to w, from the beginning, and returns nil when the job has ended. It is not
// bounded by DefaultDashboardTimeout.
func (d *Dashboard) FollowJobLogs(ctx context.Context, id string, w io.Writer) error {
	target := "dashboard follow logs of job " + id
	fail := func(sent Sent, err error) error {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return &CallError{Target: target, Sent: sent, Err: err}
	}
	path, err := jobPath(id)
	if err == nil && w == nil {
		err = fmt.Errorf("%w: w, where the logs go, is nil", ErrInvalidOption)
	}
	if err != nil {
		return fail(SentNo, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base+path+"/logs/tail", http.NoBody)
	if err != nil {
		return fail(SentNo, err)
	}
	if err := d.credentials.Authorize(request); err != nil {
		return fail(SentNo, err)
	}
	key := askWebSocket(request)
	response, err := d.http.Do(request)
	if err != nil {
		return fail(d.sentBefore(err), d.noAnswer(ctx, err))
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusSwitchingProtocols {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 4096)) // what there is explains the status
		err := refusal(response.StatusCode, string(text))
		if response.StatusCode == http.StatusOK {
			err = fmt.Errorf("%w at %s: %w", ErrNoDashboard, d.name, err)
		}
		return fail(SentYes, err)
	}
	conn, ok := response.Body.(io.ReadWriter)
	if !ok || !isWebSocket(response, key) {
		return fail(SentYes, fmt.Errorf("%w at %s: the answer is no web socket", ErrNoDashboard, d.name))
	}
	socket := &webSocket{reader: bufio.NewReader(conn), writer: conn}
	// Reads do not know the context: closing the connection ends them.
	defer context.AfterFunc(ctx, func() { _ = response.Body.Close() })()
	if _, err := io.Copy(w, socket); err != nil {
		return fail(SentYes, err)
	}
	return nil
}
