import { h, setText } from "../ui/dom.ts";
import type { Status } from "./connection.ts";

const words: Record<Status["state"], string> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  ended: "Ended",
};

/** The state of the connection in one word, announced when it changes. */
export class Badge {
  private readonly word = h("span");
  private readonly badge = h("span", { class: "badge", "data-testid": "badge" }, h("span", { class: "dot" }), this.word);
  readonly element = h("div", { class: "connection", role: "status" }, this.badge);

  show({ state }: Status): void {
    this.badge.dataset["state"] = state;
    setText(this.word, words[state]);
  }
}
