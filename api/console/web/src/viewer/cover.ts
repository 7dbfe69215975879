import type { Mode } from "../api/types.ts";
import { every, h, setText } from "../ui/dom.ts";
import { sentence } from "../text.ts";
import type { Status } from "./connection.ts";
import { explain, finality, isCrowded, wrongPassword } from "./reasons.ts";

export interface CoverActions {
  retry(): void;
  reconnect(): void;
  control(): void;
  create(): void;
  leave(): void;
}

/** What lies over the picture while it is not live: why, what is done about it, and what can be done. */
export class Cover {
  private readonly title = h("h2");
  private readonly reason = h("p", { "data-testid": "reason", role: "status" });
  private readonly countdown = h("p", { class: "quiet" });
  private readonly retry: HTMLButtonElement;
  private readonly again: HTMLButtonElement;
  private readonly control: HTMLButtonElement;
  private readonly create: HTMLButtonElement;
  private readonly leave: HTMLButtonElement;
  private readonly spinner = h("div", { class: "spinner", "aria-hidden": "true" });
  readonly element: HTMLElement;
  private retryAt: number | undefined;

  constructor(
    private readonly mode: Mode,
    actions: CoverActions,
    signal: AbortSignal,
  ) {
    const button = (label: string, testid: string, onclick: () => void) =>
      h("button", { type: "button", class: "button", "data-testid": testid, onclick }, label);
    this.retry = button("Try now", "retry", actions.retry);
    this.again = button("Connect again", "reconnect", actions.reconnect);
    this.control = button("Open to control", "control", actions.control);
    this.create = button("New desktop", "start-new", actions.create);
    this.leave = button("Back to desktops", "leave", actions.leave);
    this.leave.classList.add("primary");
    this.element = h(
      "div",
      { class: "cover" },
      h(
        "div",
        { class: "card message" },
        this.spinner,
        this.title,
        this.reason,
        this.countdown,
        h("div", { class: "actions" }, this.retry, this.again, this.control, this.create, this.leave),
      ),
    );
    every(250, signal, () => this.tick());
  }

  show(status: Status): void {
    const { state } = status;
    this.element.hidden = state === "live";
    this.element.dataset["state"] = state;
    this.retryAt = state === "reconnecting" ? status.retryAt : undefined;
    this.spinner.hidden = state === "ended";
    this.countdown.hidden = this.retry.hidden = state !== "reconnecting";
    this.leave.hidden = this.create.hidden = state !== "ended";
    this.again.hidden = this.control.hidden = true;
    switch (status.state) {
      case "connecting":
        setText(this.title, "Opening your desktop");
        setText(this.reason, status.words);
        break;
      case "reconnecting":
        setText(this.title, isCrowded(status) ? "No room at the moment" : status.code === wrongPassword ? "Wrong password" : "Reconnecting");
        setText(this.reason, sentence(status.words));
        break;
      case "ended": {
        const left = finality(status.ending);
        setText(this.title, left?.title ?? "Disconnected");
        setText(this.reason, sentence(explain(status.ending, this.mode)));
        this.control.hidden = this.mode !== "view" || status.ending.code !== "unenforceable";
        this.create.hidden = !left?.over;
        this.again.hidden = !this.create.hidden || !this.control.hidden;
        break;
      }
    }
    this.tick();
  }

  private tick(): void {
    const seconds = this.retryAt === undefined ? 0 : Math.ceil((this.retryAt - Date.now()) / 1000);
    setText(this.countdown, seconds > 0 ? `Trying again in ${seconds} s` : "Trying again…");
    this.retry.disabled = this.retryAt === undefined;
  }
}
