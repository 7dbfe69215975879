import RFB from "@novnc/novnc";
import type { Mode } from "../api/types.ts";
import { h } from "../ui/dom.ts";
import { preference, type Preferences } from "../ui/preferences.ts";

export type Scaling = Preferences["scaling"];

/** How long a new picture may take to cover the last one, in milliseconds. */
const cover = 1000;

/**
 * Where the desktop is drawn, through as many connections as it takes. Between
 * two of them the last picture stays.
 */
export class Screen {
  private readonly now = h("div", { class: "picture" });
  private readonly last = h("div", { class: "picture last", "aria-hidden": "true" });
  readonly element: HTMLElement;

  private rfb: RFB | undefined;
  private wantedScaling: Scaling = preference("scaling");
  private wantedViewOnly: boolean;
  private wantedFocusOnClick = true;

  /** With mode view nothing that is done here goes to the desktop. */
  constructor(mode: Mode) {
    this.wantedViewOnly = mode === "view";
    const role = mode === "view" ? "img" : "application";
    this.element = h("div", { class: "screen", tabindex: 0, role, "data-testid": "screen" }, this.now, this.last);
    // The canvas is noVNC's and out of the tab order; the focus comes through here.
    this.element.addEventListener("focus", () => this.focus());
    // noVNC lets go of held keys only when the window loses the focus.
    this.element.addEventListener("focusout", () => window.dispatchEvent(new Event("blur")));
  }

  /** Draws what comes from a socket, until it closes or detach is called. */
  attach(socket: WebSocket, credentials: Record<string, string>): RFB {
    const rfb = new RFB(this.now, socket, { credentials });
    const picture = this.now.lastElementChild;
    this.rfb = rfb;
    rfb.background = "transparent"; // so that the last picture shows until the new one is drawn over it
    rfb.viewOnly = this.wantedViewOnly;
    rfb.focusOnClick = this.wantedFocusOnClick;
    this.scale();
    let wasLive = false;
    rfb.addEventListener("connect", () => {
      wasLive = true;
      setTimeout(() => rfb === this.rfb && this.last.replaceChildren(), cover);
    });
    rfb.addEventListener("disconnect", () => {
      if (wasLive && picture) this.last.replaceChildren(picture);
      if (rfb === this.rfb) this.rfb = undefined;
    });
    return rfb;
  }

  get scaling(): Scaling {
    return this.wantedScaling;
  }

  set scaling(scaling: Scaling) {
    this.wantedScaling = scaling;
    this.scale();
  }

  get viewOnly(): boolean {
    return this.wantedViewOnly;
  }

  set viewOnly(viewOnly: boolean) {
    this.wantedViewOnly = viewOnly;
    if (this.rfb) this.rfb.viewOnly = viewOnly;
  }

  /** Whether a click or a tap takes the focus. */
  set focusOnClick(wanted: boolean) {
    this.wantedFocusOnClick = wanted;
    if (this.rfb) this.rfb.focusOnClick = wanted;
  }

  focus(): void {
    this.rfb?.focus({ preventScroll: true });
  }

  ctrlAltDel(): void {
    this.rfb?.sendCtrlAltDel();
  }

  /** Presses a key and lets it go. */
  press(keysym: number): void {
    this.rfb?.sendKey(keysym, null);
  }

  paste(text: string): void {
    this.rfb?.clipboardPasteFrom(text);
  }

  private scale(): void {
    if (!this.rfb) return;
    // A server that can't be resized, or not to just this size, is scaled instead.
    this.rfb.scaleViewport = this.wantedScaling !== "original";
    this.rfb.resizeSession = this.wantedScaling === "resize";
  }
}
