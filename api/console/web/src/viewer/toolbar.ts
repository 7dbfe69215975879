import type { Mode } from "../api/types.ts";
import { h, type Attributes } from "../ui/dom.ts";
import { icon, type IconName } from "../ui/icons.ts";
import { preference, remember } from "../ui/preferences.ts";
import type { Status } from "./connection.ts";
import { finality } from "./reasons.ts";
import type { Screen, Scaling } from "./screen.ts";

export interface ToolbarActions {
  leave(): void;
  stop(): void;
  fullScreen(): void;
  control(): void;
  /** Brings up the on-screen keyboard of a touch screen, or puts it away. */
  keyboard(): void;
}

/**
 * The viewer's toolbar, with what is of use at the time. Where it is narrow,
 * the tools are in a menu. Escape in it goes to the desktop.
 */
export class Toolbar {
  readonly element: HTMLElement;
  /** Of use while there is a connection, or may be again. */
  private readonly forStream: HTMLElement[];
  /** Of use while there is the desktop. */
  private readonly forDesktop: HTMLElement;

  constructor(mode: Mode, screen: Screen, name: HTMLElement, connection: HTMLElement, actions: ToolbarActions) {
    const tools = h(
      "div",
      { class: "tools", popover: "auto", id: "tools", role: "group", "aria-label": "Tools", "data-testid": "tools" },
      scalingSelect(mode, screen),
      ...(mode === "view" ? [] : [viewOnlyButton(screen)]),
      tool("clipboard", "Clipboard", "clipboard", { popovertarget: "clipboard-panel" }),
      ...(mode === "view" ? [] : [ctrlAltDelButton(screen)]),
      tool("fullscreen", "Full screen", "fullscreen", { onclick: actions.fullScreen }),
      ...(mode === "view" ? [] : [tool("help", "Help", "help", { popovertarget: "help-panel" })]),
    );
    tools.addEventListener("click", ({ target }) => {
      if (target instanceof Element && target.closest("button")) tools.hidePopover(); // before it opens another
    });
    const menu = tool("more", "More", "more", { popovertarget: "tools" });
    menu.classList.add("when-narrow");
    this.forStream = [...(mode === "view" ? [] : [keyboardButton(actions)]), tools, menu];
    this.forDesktop = mode === "view" ? controlButton(actions) : stopButton(actions);
    this.element = h(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "Desktop" },
      backLink(actions),
      name,
      connection,
      h("span", { class: "stretch" }),
      ...this.forStream,
      this.forDesktop,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !tools.matches(":popover-open")) screen.focus();
    });
  }

  show(status: Status): void {
    const ended = status.state === "ended";
    for (const element of this.forStream) element.hidden = ended;
    this.forDesktop.hidden = ended && finality(status.ending)?.over === true;
  }
}

const backLink = (actions: ToolbarActions): HTMLElement =>
  h(
    "a",
    {
      href: "/",
      class: "icon-button back",
      "aria-label": "Back to desktops",
      title: "Back to desktops",
      "data-testid": "back",
      onclick: (event) => {
        event.preventDefault();
        actions.leave();
      },
    },
    icon("back"),
  );

const ctrlAltDelButton = (screen: Screen): HTMLElement =>
  h(
    "button",
    {
      type: "button",
      class: "icon-button text",
      title: "Send Ctrl+Alt+Del to the desktop",
      "aria-label": "Send Ctrl+Alt+Del",
      "data-testid": "ctrl-alt-del",
      onclick: (event) => {
        screen.ctrlAltDel();
        if (event.detail > 0) screen.focus(); // a click; keys stay in the toolbar
      },
    },
    "Ctrl Alt Del",
  );

function keyboardButton(actions: ToolbarActions): HTMLElement {
  const button = tool("keyboard", "On-screen keyboard", "keyboard", { onclick: actions.keyboard });
  button.classList.add("when-touched");
  button.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays where it is, so that it can be put away
  return button;
}

const stopButton = (actions: ToolbarActions): HTMLElement =>
  h(
    "button",
    { type: "button", class: "button danger stop", "aria-label": "Stop", "data-testid": "stop", onclick: actions.stop },
    icon("stop"),
    h("span", { class: "label" }, "Stop"),
  );

const controlButton = (actions: ToolbarActions): HTMLElement =>
  h(
    "button",
    { type: "button", class: "button control", "aria-label": "Take control", title: "Open it to control it", "data-testid": "take-control", onclick: actions.control },
    "Control",
  );

/** The mark of a page that only looks. */
export const viewOnlyMark = (): HTMLElement =>
  h(
    "span",
    { class: "mark-view", role: "img", "aria-label": "View only", title: "View only: keys, pointer and clipboard are not sent", "data-testid": "view-only-mark" },
    icon("eye"),
    h("span", {}, "View only"),
  );

/** A button with an icon; its label shows where it is in a menu. */
function tool(image: IconName, label: string, testid: string, more: Attributes): HTMLButtonElement {
  return h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, "data-testid": testid, ...more },
    icon(image),
    h("span", { class: "menu-label", "aria-hidden": "true" }, label),
  );
}

function viewOnlyButton(screen: Screen): HTMLButtonElement {
  const button = tool("eye", "View only", "view-only", { "aria-pressed": "false" });
  button.title = "View only: keys and pointer are not sent";
  button.addEventListener("click", () => {
    screen.viewOnly = !screen.viewOnly;
    button.setAttribute("aria-pressed", String(screen.viewOnly));
  });
  return button;
}

function scalingSelect(mode: Mode, screen: Screen): HTMLElement {
  const modes: [Scaling, string][] = [
    ["fit", "Fit"],
    ["original", "1:1"],
  ];
  if (mode === "control") modes.push(["resize", "Resize"]);
  const chosen = preference("scaling");
  const select = h(
    "select",
    { "aria-label": "Scaling", title: "Scaling", "data-testid": "scaling" },
    ...modes.map(([value, label]) => h("option", { value, selected: value === chosen }, label)),
  );
  select.addEventListener("change", () => {
    const scaling = select.value as Scaling;
    remember("scaling", scaling);
    screen.scaling = scaling;
  });
  return h("label", { class: "scaling" }, h("span", { class: "menu-label", "aria-hidden": "true" }, "Scaling"), select);
}
