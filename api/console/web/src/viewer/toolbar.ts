import type { Mode } from "../api/types.ts";
import { h, type Attributes } from "../ui/dom.ts";
import { icon, type IconName } from "../ui/icons.ts";
import { preference, remember } from "../ui/preferences.ts";
import type { Screen, Scaling } from "./screen.ts";

export interface ToolbarActions {
  leave(): void;
  stop(): void;
  fullScreen(): void;
  control(): void;
}

/** The viewer's toolbar. Escape in it goes to the desktop. */
export function toolbar(mode: Mode, screen: Screen, name: HTMLElement, connection: HTMLElement, actions: ToolbarActions): HTMLElement {
  const back = h(
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
  const bar = h(
    "div",
    { class: "toolbar", role: "toolbar", "aria-label": "Desktop" },
    back,
    name,
    connection,
    h("span", { class: "stretch" }),
    scalingSelect(mode, screen),
    ...(mode === "view" ? toolsToLook(actions) : toolsToControl(screen, actions)),
  );
  bar.addEventListener("keydown", (event) => {
    if (event.key === "Escape") screen.focus();
  });
  return bar;
}

function toolsToControl(screen: Screen, actions: ToolbarActions): HTMLElement[] {
  return [
    viewOnlyButton(screen),
    clipboardButton(),
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
    ),
    fullScreenButton(actions),
    tool("help", "Help", "help", { popovertarget: "help-panel" }),
    h(
      "button",
      { type: "button", class: "button danger stop", "data-testid": "stop", onclick: actions.stop },
      icon("stop"),
      h("span", { class: "label" }, "Stop"),
    ),
  ];
}

function toolsToLook(actions: ToolbarActions): HTMLElement[] {
  return [
    clipboardButton(),
    fullScreenButton(actions),
    h(
      "button",
      { type: "button", class: "button control", "aria-label": "Take control", title: "Open it to control it", "data-testid": "take-control", onclick: actions.control },
      "Control",
    ),
  ];
}

/** The mark of a page that only looks. */
export const viewOnlyMark = (): HTMLElement =>
  h(
    "span",
    { class: "mark-view", role: "img", "aria-label": "View only", title: "View only: keys, pointer and clipboard are not sent", "data-testid": "view-only-mark" },
    icon("eye"),
    h("span", {}, "View only"),
  );

const clipboardButton = (): HTMLButtonElement => tool("clipboard", "Clipboard", "clipboard", { popovertarget: "clipboard-panel" });

const fullScreenButton = (actions: ToolbarActions): HTMLButtonElement =>
  tool("fullscreen", "Full screen", "fullscreen", { onclick: actions.fullScreen });

function tool(image: IconName, label: string, testid: string, more: Attributes): HTMLButtonElement {
  return h(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, "data-testid": testid, ...more },
    icon(image),
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

function scalingSelect(mode: Mode, screen: Screen): HTMLSelectElement {
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
  return select;
}

/** What the keys do. */
export function helpPanel(): HTMLElement {
  const row = (keys: string[], text: string) =>
    h("div", { class: "keys" }, h("dt", {}, ...keys.map((key) => h("kbd", {}, key))), h("dd", {}, text));
  return h(
    "div",
    { class: "card panel", popover: "auto", id: "help-panel", "aria-label": "Help" },
    h("h2", { class: "panel-title" }, "Keys"),
    h("p", { class: "quiet" }, "The desktop gets every key that the browser lets go, with two exceptions:"),
    h(
      "dl",
      {},
      row(["Ctrl", "Alt", "Shift"], "press and let go: leave the desktop, go to the toolbar"),
      row(["Esc"], "in the toolbar: back to the desktop"),
    ),
    h("p", { class: "quiet" }, "In full screen the toolbar is at the top edge; some browsers then pass on Alt+Tab and Ctrl+W as well."),
  );
}
