/** Times in milliseconds. */
const lookEvery = 1_000;
const probeAfter = 5_000; // of silence
const patience = 8_000; // for the probe's answer
const patienceInDoubt = 3_000;

/**
 * Finds a connection that is dead without being closed: browsers hide
 * WebSocket pings from pages and notice a lost network after minutes. When
 * nothing has come for a while it sends a probe that must be answered.
 */
export class Watchdog {
  private timer: ReturnType<typeof setTimeout>;
  private heardAt = Date.now();
  private deadline = Infinity; // for the answer to a probe

  constructor(
    private readonly probe: () => void,
    private readonly dead: () => void,
  ) {
    this.timer = setTimeout(() => this.look(), lookEvery);
  }

  /** Something came from the other end. */
  heard(): void {
    this.heardAt = Date.now();
    this.deadline = Infinity;
  }

  /** There is reason to think that the connection is dead: find out now. */
  doubt(): void {
    this.deadline = Math.min(this.deadline, Date.now() + patienceInDoubt);
    this.probe();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private look(): void {
    const now = Date.now();
    if (now >= this.deadline) {
      this.dead();
      return;
    }
    this.timer = setTimeout(() => this.look(), lookEvery);
    if (this.deadline === Infinity && now - this.heardAt >= probeAfter) {
      this.deadline = now + patience;
      this.probe();
    }
  }
}
