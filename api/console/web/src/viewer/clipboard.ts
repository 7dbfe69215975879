import type { Mode } from "../api/types.ts";
import { h, setText } from "../ui/dom.ts";

/**
 * The desktop's clipboard in a panel. Text goes over by hand, or by itself once
 * the person has switched that on and the browser permits it.
 */
export class Clipboard {
  private readonly text = h("textarea", {
    id: "clipboard-text",
    rows: 6,
    spellcheck: "false",
    autocomplete: "off",
    "data-testid": "clipboard-text",
  });
  private readonly note = h("p", { class: "quiet", role: "status" });
  private readonly both = h("input", { type: "checkbox", id: "clipboard-sync", "data-testid": "clipboard-sync" });
  private readonly sending = h(
    "button",
    { type: "button", class: "button primary", "data-testid": "clipboard-send", onclick: () => this.sendText() },
    "Send to desktop",
  );
  private readonly bothLabel = h("span");
  private readonly oneWay = h("p", { class: "quiet", "data-testid": "clipboard-one-way" });
  readonly element = h(
    "div",
    { class: "card panel", popover: "auto", id: "clipboard-panel", "aria-label": "Clipboard" },
    h("label", { for: "clipboard-text", class: "panel-title" }, "Clipboard of the desktop"),
    this.text,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "button", onclick: () => void this.copy() }, "Copy here"),
      this.sending,
    ),
    h("label", { class: "check", for: "clipboard-sync" }, this.both, this.bothLabel),
    this.oneWay,
    this.note,
  );
  private in = true;
  /** What both sides have, as far as is known. */
  private shared = "";

  /** Reads this computer's clipboard when the page gets the focus, until the signal aborts. */
  constructor(
    private readonly mode: Mode,
    private readonly send: (text: string) => void,
    signal: AbortSignal,
  ) {
    this.allowIn(mode === "control");
    this.both.addEventListener("change", () => {
      this.note.textContent = "";
      if (this.both.checked) void this.pull();
    });
    window.addEventListener("focus", () => void this.pull(), { signal });
  }

  /** Says whether what is sent reaches the desktop. */
  allowIn(allowed: boolean): void {
    this.in = allowed;
    this.sending.hidden = !allowed;
    this.text.readOnly = !allowed;
    setText(this.bothLabel, allowed ? "Keep both clipboards the same" : "Copy here what is copied there");
    const why = this.mode === "view" ? "You only look: nothing is pasted into the desktop." : "Pasting into desktops is off on this installation.";
    setText(this.oneWay, allowed ? "" : why);
  }

  /** Text was copied at the desktop. */
  received(text: string): void {
    this.text.value = text;
    this.shared = text;
    if (this.both.checked) void this.copy();
  }

  private sendText(): void {
    this.shared = this.text.value;
    this.send(this.text.value);
    this.note.textContent = "Sent. Paste it at the desktop.";
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.text.value);
      this.note.textContent = "Copied to this computer's clipboard.";
    } catch {
      // Browsers permit it only to the page that has the focus.
      this.note.textContent = "The browser did not permit it. Select the text and copy it by hand.";
    }
  }

  /** Sends this computer's clipboard if it has changed. */
  private async pull(): Promise<void> {
    if (!this.both.checked || !this.in) return;
    let text: string;
    try {
      text = await navigator.clipboard.readText();
    } catch {
      if (!document.hasFocus()) return;
      this.both.checked = false;
      this.note.textContent = "The browser does not let this page read your clipboard. Paste the text here and send it.";
      return;
    }
    if (!text || text === this.shared) return;
    this.text.value = text;
    this.shared = text;
    this.send(text);
  }
}
