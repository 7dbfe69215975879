//go:build race

package e2e

// buildFlags make the program under test watch for data races when its tests do.
var buildFlags = []string{"-race"}

// memoryFactor is how many times the memory a program needs that watches for
// data races; its documentation says 5 to 10.
const memoryFactor = 10

// watchedShare is what part of a load such a program gets: it is as much slower.
const watchedShare = 5
