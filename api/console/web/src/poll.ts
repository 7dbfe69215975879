/** The part of a document that tells whether anybody can see it. */
type Sight = Pick<Document, "visibilityState"> & EventTarget;

/** Does a job again and again while the page can be seen, never twice at once, until the signal aborts. */
export class Poll {
  private wait: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private lastEnd = -Infinity;
  private running = false;
  private again = false;

  constructor(
    private readonly job: () => Promise<void>,
    private readonly signal: AbortSignal,
    private readonly sight: Sight = document,
  ) {
    sight.addEventListener("visibilitychange", () => this.schedule(), { signal });
    signal.addEventListener("abort", () => this.schedule());
  }

  /** How long to wait from the end of one job to the next, in milliseconds; undefined: for ever. */
  set pace(wait: number | undefined) {
    if (wait === this.wait) return;
    this.wait = wait;
    this.schedule();
  }

  /** Does the job without waiting, if it is being done at all. */
  now(): void {
    if (this.running) this.again = true;
    this.lastEnd = -Infinity;
    this.schedule();
  }

  private schedule(): void {
    clearTimeout(this.timer);
    const stopped = this.wait === undefined || this.signal.aborted || this.sight.visibilityState === "hidden";
    if (stopped || this.running) return;
    const due = this.lastEnd + this.wait! - Date.now();
    this.timer = setTimeout(() => void this.run(), Math.max(0, due));
  }

  private async run(): Promise<void> {
    this.running = true;
    this.again = false;
    try {
      await this.job();
    } finally {
      this.running = false;
      this.lastEnd = this.again ? -Infinity : Date.now();
      this.schedule();
    }
  }
}
