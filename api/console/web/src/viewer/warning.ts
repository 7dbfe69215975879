import { edgeClock } from "../api/client.ts";
import type { EndsBecause, Mode } from "../api/types.ts";
import { countdown } from "../text.ts";
import { every, h, setText } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";

/** An end that is announced; as the API tells it. */
export interface Announced {
  ends_at?: string | null;
  ends_because?: EndsBecause;
}

/** When what is left is read out again, in seconds: each second would drown the rest. */
const readOut = [30, 10];

/**
 * The bar over the picture that tells when and why the desktop ends by itself.
 * It takes no room and no clicks from the picture: to move the pointer over it
 * is use as well.
 */
export class Warning {
  private readonly left = h("strong");
  private readonly why = h("span");
  private readonly bar = h("div", { class: "warning", hidden: true, "aria-hidden": "true", "data-testid": "warning" }, icon("clock"), h("p", {}, this.left, this.why));
  private readonly announced = h("p", { class: "unseen", role: "status", "aria-live": "assertive", "data-testid": "warning-announced" });
  readonly element = h("div", {}, this.bar, this.announced);
  private endsAt: number | undefined;
  private because: EndsBecause = "";
  private toRead: number[] = [];

  constructor(
    private readonly mode: Mode,
    signal: AbortSignal,
  ) {
    every(250, signal, () => this.tick());
  }

  /** Shows what is announced, or that nothing is any more. */
  show({ ends_at, ends_because = "" }: Announced): void {
    const endsAt = ends_at ? Date.parse(ends_at) : undefined;
    if (endsAt === this.endsAt && ends_because === this.because) return;
    const takenBack = this.endsAt !== undefined && endsAt === undefined && this.because === "idle_timeout";
    this.endsAt = endsAt;
    this.because = ends_because;
    this.bar.hidden = endsAt === undefined;
    if (endsAt === undefined) {
      setText(this.announced, takenBack ? "The desktop stays." : "");
      return;
    }
    setText(this.why, whyItEnds(ends_because, this.mode));
    this.toRead = [...readOut];
    this.tick();
    setText(this.announced, `${this.left.textContent}${this.why.textContent}`);
  }

  private tick(): void {
    if (this.endsAt === undefined) return;
    const left = this.endsAt - edgeClock.now();
    setText(this.left, left > 0 ? `This desktop ends in ${countdown(left)} ` : "This desktop ends now ");
    let read = false;
    while (this.toRead[0] !== undefined && left <= this.toRead[0] * 1000) {
      read = read || left > (this.toRead[0] - 2) * 1000; // not when it came up with less
      this.toRead.shift();
    }
    if (read) setText(this.announced, `${this.left.textContent}${this.why.textContent}`);
  }
}

function whyItEnds(because: EndsBecause, mode: Mode): string {
  if (because !== "idle_timeout") return "because it has reached its longest allowed time. Save your work.";
  return mode === "view"
    ? "because nobody has used it. Whoever controls it can keep it."
    : "because nobody has used it. Move the pointer or press a key to keep it.";
}
