/** Nearer than this, in milliseconds, two clocks are as good as the same: the edge tells whole seconds. */
const near = 2_000;

/** Tells the edge's time where this computer's clock is wrong. */
export class EdgeClock {
  private ahead = 0;

  /** Takes the Date header of an answer to what was asked at that time of this computer. */
  told(date: string | null, asked: number): void {
    const there = Date.parse(date ?? "") + 500; // it was cut to the second
    if (Number.isNaN(there)) return;
    const ahead = there - (asked + Date.now()) / 2;
    this.ahead = Math.abs(ahead) < near ? 0 : ahead;
  }

  /** The time at the edge, in milliseconds as of Date.now. */
  now(): number {
    return Date.now() + this.ahead;
  }
}
