package main

import (
	"io"
	"log"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"

	"serin.dev/serin/pkg/safetext"
)

// newLogger writes one JSON object a line, in which nothing steers a terminal.
func newLogger(out io.Writer, level zapcore.Level) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoding.TimeKey = "time"
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.Lock(zapcore.AddSync(safetext.JSON(out))), level))
}

// useForClients sends what the Kubernetes client libraries log the same way.
func useForClients(log *zap.Logger) {
	klog.SetLoggerWithOptions(logr.New(clientSink{log.Named("client").Sugar()}), klog.ContextualLogger(true))
}

// forServers is where a server says what clients of it do wrong.
func forServers(zlog *zap.Logger) *log.Logger {
	out, err := zap.NewStdLogAt(zlog.Named("http"), zapcore.WarnLevel)
	if err != nil {
		return zap.NewStdLog(zlog)
	}
	return out
}

// clientSink is a logr.LogSink over zap.
type clientSink struct{ log *zap.SugaredLogger }

func (clientSink) Init(logr.RuntimeInfo) {}

// Enabled lets the libraries' details through at the debug level only.
func (s clientSink) Enabled(level int) bool {
	return level == 0 || level <= 2 && s.log.Level().Enabled(zapcore.DebugLevel)
}

func (s clientSink) Info(level int, message string, pairs ...any) {
	if level == 0 {
		s.log.Infow(message, pairs...)
		return
	}
	s.log.Debugw(message, pairs...)
}

func (s clientSink) Error(err error, message string, pairs ...any) {
	s.log.Warnw(message, append(pairs, "error", err)...)
}

func (s clientSink) WithValues(pairs ...any) logr.LogSink { return clientSink{s.log.With(pairs...)} }

func (s clientSink) WithName(name string) logr.LogSink { return clientSink{s.log.Named(name)} }
