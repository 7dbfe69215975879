import { h, setText } from "./dom.ts";
import { icon } from "./icons.ts";

/** How long a notice stays, in milliseconds. */
const stay = 10_000;

/** Short messages at the lower edge, one at a time, read out when they come. */
export class Notices {
  private readonly text = h("span");
  private readonly notice = h(
    "div",
    { class: "notice" },
    this.text,
    h("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => this.hide() }, icon("close")),
  );
  readonly element = h("div", { class: "notices", role: "alert", "data-testid": "notices" });
  private timer = 0;

  /** Shows a text; one that is shown already stays longer and is not read out again. */
  tell(text: string): void {
    setText(this.text, text);
    if (!this.notice.isConnected) this.element.append(this.notice);
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.hide(), stay);
  }

  /** Takes away what is told. */
  hide(): void {
    this.notice.remove();
  }
}
