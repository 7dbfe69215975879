package main

import "github.com/streamspace-dev/streamspace-edge/proxy/agent"

// keeperVerb is the name of keepCommand on the command line.
const keeperVerb = "keep"

// keepCommand is not for people: the agent starts it, once for each session.
type keepCommand struct {
	Session string `arg:"" help:"The session's id, for who lists processes."`
}

// Run ends with the last process of the session.
func (keepCommand) Run() error { return agent.Keep() }
