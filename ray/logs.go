package ray

import (
	"context"
	"log/slog"
	"regexp"
	"strings"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// Levels of Ray's log channel that are no levels of Python's logging.
const (
	logStdout = -1
	logStderr = -2
	// pythonDebug asks for everything; Config.ClusterLog chooses.
	pythonDebug = 10
)

// logOrigin is how Ray says who printed a line: "(name pid=1, ip=10.0.0.1) text".
var logOrigin = regexp.MustCompile(`^\((?:(.+?) )?pid=(\d+)(?:, ip=([^)]+))?\) ?`)

// logRecords are what a message of the log channel becomes: one record a line, without colours.
func logRecords(data *raypb.LogData, emit func(level slog.Level, text string, attrs ...slog.Attr)) {
	level, stream := slog.LevelInfo, ""
	switch n := data.GetLevel(); {
	case n == logStdout:
		stream = "stdout"
	case n == logStderr:
		stream = "stderr"
	case n >= 40:
		level = slog.LevelError
	case n >= 30:
		level = slog.LevelWarn
	case n < 20:
		level = slog.LevelDebug
	}
	for line := range strings.SplitSeq(colours.ReplaceAllString(data.GetMsg(), ""), "\n") {
		line = strings.TrimRight(line, " \r\t")
		var attrs []slog.Attr
		if stream != "" {
			attrs = append(attrs, slog.String("stream", stream))
		} else if data.GetName() != "" {
			attrs = append(attrs, slog.String("logger", data.GetName()))
		}
		if origin := logOrigin.FindStringSubmatch(line); origin != nil {
			line = line[len(origin[0]):]
			for i, name := range []string{"", "source", "pid", "ip"} {
				if i > 0 && origin[i] != "" {
					attrs = append(attrs, slog.String(name, origin[i]))
				}
			}
		}
		if line != "" {
			emit(level, line, attrs...)
		}
	}
}

// clusterLog passes a message on to Config.ClusterLog.
func (s *Session) clusterLog(ctx context.Context, data *raypb.LogData) {
	logRecords(data, func(level slog.Level, text string, attrs ...slog.Attr) {
		s.cfg.ClusterLog.LogAttrs(ctx, level, text, attrs...)
	})
}
