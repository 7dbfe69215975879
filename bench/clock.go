package bench

import (
	"slices"
	"time"
)

// clock measures CPU between its start and its stop. Viewers are told to mark
// before the one and to count before the other, so that on a machine that is so
// busy that looking takes long, both windows are still as long and the same.
type clock struct {
	result    *Measurement
	system    []*process
	generator []*process // of the load; those that start meanwhile are added
	aside     []*process // step aside for all others, and count for nobody
	began     time.Time
	before    map[*process]time.Duration
	machine   time.Duration
}

func (c *clock) start() (*clock, error) {
	c.began, c.machine = time.Now(), machineBusy()
	var err error
	c.before, err = c.used()
	return c, err
}

func (c *clock) used() (map[*process]time.Duration, error) {
	return used(slices.Concat(c.system, c.generator, c.aside))
}

func (c *clock) stop() error {
	r := c.result
	r.Seconds = time.Since(c.began).Seconds()
	machine := (machineBusy() - c.machine).Seconds()
	after, err := c.used()
	if err != nil {
		return err
	}
	for _, p := range c.system {
		r.CPU[p.name] += (after[p] - c.before[p]).Seconds()
	}
	for _, p := range c.generator {
		r.Load += (after[p] - c.before[p]).Seconds()
	}
	for _, p := range c.aside {
		machine -= (after[p] - c.before[p]).Seconds()
	}
	r.Others = max(0, machine-r.Load-r.totalCPU())
	return nil
}

// used is the CPU time of processes so far, with that of their children; of
// those that have ended, too.
func used(processes []*process) (map[*process]time.Duration, error) {
	all := map[*process]time.Duration{}
	byLeader := map[int]*process{}
	var leaders []int
	for _, p := range processes {
		select {
		case <-p.exited:
			all[p] = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
		default:
			byLeader[p.pid()] = p
			leaders = append(leaders, p.pid())
		}
	}
	running, err := cpuTime(leaders)
	for leader, cpu := range running {
		all[byLeader[leader]] = cpu
	}
	return all, err
}
