package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// system is one that is measured.
type system struct {
	name      string
	secure    bool     // viewers come over TLS
	programs  []string // that must be installed
	webSocket bool     // it passes WebSocket on, so its VNC servers must speak it
	cookie    bool     // of HTTP: it keeps clients on their upstream by a cookie
	ours      bool
	start     func(ctx context.Context, s *site) error
}

const (
	edge, edgePlain, edgeAgent = "edge", "edge-plain", "edge+agent"
	haproxy, haproxyPlain      = "haproxy", "haproxy-plain"
	nginx, nginxPlain          = "nginx", "nginx-plain"
	websockify                 = "websockify"
	haproxyWebsockify          = "haproxy+websockify"
	nginxWebsockify            = "nginx+websockify"
)

// relaySystems are all that can be measured, in the order of a report.
func relaySystems() []system {
	ours := func(name string, secure, agent bool) system {
		return system{name: name, secure: secure, ours: true, start: func(ctx context.Context, s *site) error { return startEdge(ctx, s, secure, agent) }}
	}
	passing := func(name, program string, secure bool, start func(context.Context, *site, bool, []string) error) system {
		return system{name: name, secure: secure, programs: []string{program}, webSocket: true, start: func(ctx context.Context, s *site) error {
			return start(ctx, s, secure, s.servers[:1])
		}}
	}
	chained := func(name, program string, start func(context.Context, *site, bool, []string) error) system {
		return system{name: name, secure: true, programs: []string{program, "websockify"}, start: func(ctx context.Context, s *site) error {
			backends, err := startWebsockify(ctx, s, s.servers[0])
			if err != nil {
				return err
			}
			return start(ctx, s, true, backends)
		}}
	}
	return []system{
		ours(edge, true, false),
		ours(edgePlain, false, false),
		ours(edgeAgent, true, true),
		passing(haproxy, "haproxy", true, startHAProxy),
		passing(haproxyPlain, "haproxy", false, startHAProxy),
		passing(nginx, "nginx", true, startNginx),
		passing(nginxPlain, "nginx", false, startNginx),
		{name: websockify, programs: []string{"websockify"}, start: func(ctx context.Context, s *site) error {
			if s.viewers > websockifyViewers {
				return fmt.Errorf("one websockify serves no %d viewers: it waits with select(2), which knows no descriptor beyond 1023; choose at most %d, or haproxy+websockify", s.viewers, websockifyViewers)
			}
			addresses, err := startWebsockify(ctx, s, s.servers[0])
			if err != nil {
				return err
			}
			s.door = door{Address: addresses[0]}
			return nil
		}},
		chained(haproxyWebsockify, "haproxy", startHAProxy),
		chained(nginxWebsockify, "nginx", startNginx),
	}
}

// packageOf is the Debian package of a program.
func packageOf(program string) string {
	if program == "nginx" {
		return "nginx-light"
	}
	return program
}

// installed divides systems into those that can run here and what the others
// lack.
func installed(all []system) (here []system, missing []string) {
	for _, s := range all {
		complete := true
		for _, program := range s.programs {
			if findProgram(program) == "" {
				complete = false
				if p := packageOf(program); !slices.Contains(missing, p) {
					missing = append(missing, p)
				}
			}
		}
		if complete {
			here = append(here, s)
		}
	}
	return here, missing
}

func systemNames(all []system) (names []string) {
	for _, s := range all {
		names = append(names, s.name)
	}
	return names
}

// UsageError is a wrong word or number on the command line.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// choose picks systems by name; none are all.
func choose(all []system, names []string) ([]system, error) {
	if len(names) == 0 {
		return all, nil
	}
	var chosen []system
	for _, name := range names {
		i := slices.IndexFunc(all, func(s system) bool { return s.name == name })
		if i < 0 {
			return nil, &UsageError{fmt.Sprintf("--systems: there is no system %q; there are %s", name, strings.Join(systemNames(all), ", "))}
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
