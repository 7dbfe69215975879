/** The shortest and the longest wait between two attempts, in milliseconds. */
const shortest = 250;
const longest = 10_000;

/**
 * Waits that double from 0.25 s to 10 s. Each is spread over its upper half, so
 * that many pages which lost the same server do not come back in step.
 */
export class Backoff {
  private wait = shortest;

  constructor(private readonly random: () => number = Math.random) {}

  /** The next wait in milliseconds. */
  next(): number {
    const wait = this.wait;
    this.wait = Math.min(wait * 2, longest);
    return wait / 2 + (wait / 2) * this.random();
  }

  reset(): void {
    this.wait = shortest;
  }
}
