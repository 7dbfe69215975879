import { h } from "../ui/dom.ts";

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
