import { fill, h, setText } from "../ui/dom.ts";
import type { StreamQuality } from "../api/types.ts";
import type { Status } from "./connection.ts";
import { Readings, type Quality } from "./quality.ts";
import { finality, isCrowded } from "./reasons.ts";

function wordOf(status: Status): string {
  switch (status.state) {
    case "connecting":
      return "Connecting";
    case "live":
      return "Live";
    case "reconnecting":
      return isCrowded(status) ? "Waiting" : "Reconnecting";
    case "ended":
      return finality(status.ending)?.badge ?? "Ended";
  }
}

const grades = { good: "Good", fair: "Fair", poor: "Poor" };

/**
 * The state of the connection and how good it is, with the figures behind it in
 * a panel. State and grade are announced when they change, figures are not.
 */
export class Badge {
  private readonly word = h("span");
  private readonly brief = h("span", { class: "brief" });
  private readonly announced = h("span", { class: "unseen", role: "status" });
  private readonly badge = h(
    "button",
    { type: "button", class: "badge", popovertarget: "quality-panel", title: "How good the connection is", "data-testid": "badge" },
    h("span", { class: "dot" }),
    this.word,
    this.brief,
  );
  readonly element = h("div", { class: "connection" }, this.badge, this.announced);

  private readonly summary = h("p", { "data-testid": "quality-summary" });
  private readonly facts = h("dl", { class: "facts", "data-testid": "quality-facts" });
  readonly panel = h(
    "div",
    {
      class: "card panel quality",
      popover: "auto",
      id: "quality-panel",
      role: "dialog",
      "aria-labelledby": "quality-title",
      tabindex: -1,
      autofocus: true, // read out when it opens; the browser gives the focus back when it closes
    },
    h("h2", { class: "panel-title", id: "quality-title" }, "Connection"),
    this.summary,
    this.facts,
  );
  private state: Status = { state: "connecting", words: "" };
  private readings = new Readings();

  /** Calls back when the panel was opened or closed. */
  constructor(toggled: (open: boolean) => void) {
    this.panel.addEventListener("toggle", (event) => toggled((event as ToggleEvent).newState === "open"));
    this.draw();
  }

  show(status: Status): void {
    if (status.state !== this.state.state) this.readings = new Readings();
    this.state = status;
    this.draw();
  }

  /** Takes what the edge tells of the connection. */
  measured(stream: StreamQuality): void {
    this.readings.add(stream);
    this.draw();
  }

  /** Whether there are figures. */
  get knows(): boolean {
    return this.readings.quality.grade !== undefined;
  }

  private draw(): void {
    const { state } = this.state;
    const quality = state === "live" ? this.readings.quality : undefined;
    const word = quality?.grade ? grades[quality.grade] : wordOf(this.state);
    this.badge.dataset["state"] = state;
    this.badge.dataset["quality"] = quality?.grade ?? "";
    setText(this.word, word);
    setText(this.brief, quality?.brief ?? "");
    setText(this.announced, quality?.grade ? `Connection: ${word}` : word);
    setText(this.summary, quality?.summary ?? "There are figures while the desktop is shown.");
    this.drawFacts(quality?.facts ?? []);
  }

  private drawFacts(facts: Quality["facts"]): void {
    const rows = facts.map(({ label, value, note }) =>
      h("div", {}, h("dt", {}, label), h("dd", {}, value, note && h("span", { class: "quiet small" }, note))),
    );
    fill(this.facts, ...rows);
  }
}
