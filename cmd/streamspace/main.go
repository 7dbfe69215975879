// Command streamspace is the one binary of StreamSpace Edge: `streamspace edge`
// is the appliance, `streamspace agent` the daemon on a desktop host, and
// `streamspace dev` both in one process for the first minute.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/streamspace-dev/streamspace-edge/bench"
)

const version = "0.1.0-dev"

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // wrong command line or config
)

type commandLine struct {
	Edge    edgeCommand    `cmd:"" help:"Run an edge: TLS, the console, the API, and the desktops' bytes."`
	Agent   agentCommand   `cmd:"" help:"Run the agent on a desktop host; it dials out to an edge."`
	Dev     devCommand     `cmd:"" help:"Run an edge and an agent in one process, to try it out."`
	Bench   benchCommand   `cmd:"" help:"Measure this program beside others."`
	Migrate migrateCommand `cmd:"" help:"Bring the database's schema up to date, or move to PostgreSQL."`
	Version versionCommand `cmd:"" help:"Print the version."`
	Keep    keepCommand    `cmd:"" hidden:"" help:"Stay above the processes of one session; the agent starts it."`

	LogFormat string `enum:"text,json" default:"text" help:"Log lines for people (text) or for programs (json)." env:"STREAMSPACE_LOG_FORMAT"`
	LogLevel  string `enum:"auto,debug,info,warn,error" default:"auto" help:"The least important lines to write: debug, info, warn or error; auto is warn for dev, else info." env:"STREAMSPACE_LOG_LEVEL"`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program with its surroundings passed in; it returns the
// exit status.
func run(args []string, stdout, stderr io.Writer) int {
	var line commandLine
	parser, err := kong.New(&line,
		kong.Name("streamspace"),
		kong.Description("Remote desktops in the browser, without a cloud: TLS, load balancing and VNC relay in one binary."),
		kong.Vars{"devData": defaultDevData(), "version": versionLine(),
			"benchClients": strconv.Itoa(bench.DefaultClients), "benchRate": strconv.Itoa(bench.DefaultRate),
			"benchAPIRate": strconv.Itoa(bench.DefaultAPIRate), "benchAPISessions": strconv.Itoa(bench.DefaultAPISessions),
			"benchAPIAgents": strconv.Itoa(bench.DefaultAPIAgents),
			"benchEdges":     strconv.Itoa(bench.DefaultEdges), "benchAgents": strconv.Itoa(bench.DefaultAgents),
			"benchSessions": strconv.Itoa(bench.DefaultSessions), "benchViewers": strconv.Itoa(bench.DefaultViewers)},
		kong.Writers(stdout, stderr),
		kong.UsageOnError(),
		kong.Exit(func(status int) { panic(exitNow(status)) }),
	)
	if err != nil {
		panic(err) // the struct tags above are wrong
	}
	return catchExit(func() int {
		parsed, err := parser.Parse(helpFirst(args))
		if err != nil {
			fmt.Fprintln(stderr, "streamspace:", usageError(err))
			return exitUsage
		}
		level := line.LogLevel
		switch {
		case level == "auto" && parsed.Command() == "dev":
			level = "warn" // or the key that is printed first scrolls away
		case level == "auto":
			level = "info"
		}
		surroundings := &surroundings{stdout: stdout, stderr: stderr, log: newLogger(line.LogFormat, level, stderr), processors: newProcessors()}
		return exitStatus(parsed.Run(surroundings), stderr)
	})
}

// exitNow carries kong's wish to exit (after --help) up to run.
type exitNow int

func catchExit(f func() int) (status int) {
	defer func() {
		if p := recover(); p != nil {
			wish, ok := p.(exitNow)
			if !ok {
				panic(p)
			}
			status = int(wish)
		}
	}()
	return f()
}

func exitStatus(err error, stderr io.Writer) int {
	var config *configError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &config):
		fmt.Fprintln(stderr, config)
		return exitUsage
	default:
		fmt.Fprintln(stderr, "streamspace:", err)
		return exitFailed
	}
}

// surroundings is what every verb is run with.
type surroundings struct {
	stdout, stderr io.Writer
	log            *zap.Logger
	processors     *processors
}

func newLogger(format, level string, out io.Writer) *zap.Logger {
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	encoding.EncodeDuration = zapcore.SecondsDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if format == "text" {
		encoding.EncodeDuration = zapcore.StringDurationEncoder
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	least, err := zapcore.ParseLevel(level)
	if err != nil {
		least = zapcore.InfoLevel // kong's enum has let only valid words pass
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), least))
}

// untilSignalOrHangup is untilSignal for what also ends with its terminal:
// SIGHUP ends the context, too, unless it was started with nohup. Another SIGHUP
// ends nothing: a terminal that closes sends several.
func untilSignalOrHangup() (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return untilSignal()
	}
	return untilSignal(syscall.SIGHUP)
}

// untilSignal returns a context that ends at SIGTERM, SIGINT or one of the
// others. A second SIGTERM or SIGINT ends the process at once.
func untilSignal(others ...os.Signal) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, append(others, syscall.SIGTERM, syscall.SIGINT)...)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
			return
		}
		for again := range signals {
			if !slices.Contains(others, again) {
				os.Exit(exitFailed)
			}
		}
	}()
	return ctx, func() {
		if len(others) > 0 { // what is left to do takes a moment, and one more of them is no reason to die in it
			signal.Ignore(others...)
		}
		signal.Stop(signals)
		cancel()
		close(signals)
		<-stopped
	}
}

type versionCommand struct{}

// Run prints the version, the revision when the build knows it, and the
// platform.
func (versionCommand) Run(s *surroundings) error {
	_, err := fmt.Fprintln(s.stdout, versionLine())
	return err
}

func versionLine() string {
	return fmt.Sprintf("streamspace %s%s %s %s/%s", version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return " (" + s.Value[:min(12, len(s.Value))] + ")"
		}
	}
	return ""
}
