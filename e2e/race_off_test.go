//go:build !race

package e2e

var buildFlags []string

// memoryFactor is how many times the memory the program needs for being watched.
const memoryFactor = 1

// watchedShare is what part of a load the program gets for being watched.
const watchedShare = 1
