package main

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// TestTheAddressStaysWhereNoEdgeIsBetter: while the database is away all edges fail
// the check, and keepalived gives an address up on all hosts for a failed check that
// has no weight (keepalived.conf(5), "track_script").
func TestTheAddressStaysWhereNoEdgeIsBetter(t *testing.T) {
	text, err := os.ReadFile("../../deploy/cluster/keepalived.conf")
	if err != nil {
		t.Fatal(err)
	}
	weight := regexp.MustCompile(`(?m)^\s+weight -(\d+)$`).FindSubmatch(text)
	named := regexp.MustCompile(`priority of its own \((\d+), (\d+), (\d+)\)`).FindSubmatch(text)
	if weight == nil || named == nil {
		t.Fatal("there is no negative weight, or there are no priorities")
	}
	number := func(text []byte) int {
		n, err := strconv.Atoi(string(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	var priorities []int
	for _, text := range named[1:] {
		priorities = append(priorities, number(text))
	}
	if lost, spread := number(weight[1]), slices.Max(priorities)-slices.Min(priorities); lost <= spread || slices.Min(priorities)-lost < 1 {
		t.Errorf("a failed check costs %d of the priorities %v: it has to be more than they differ by, and leave some", lost, priorities)
	}
}
