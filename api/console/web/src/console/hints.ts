import type { Hint } from "../api/types.ts";
import { fill, h } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";
import type { Agents } from "./agents.ts";

/** What to install where only the built-in demo is there. */
const realDesktops: Hint = {
  code: "demo_only",
  text:
    "These desktops are the built-in demo. For real ones install TigerVNC, a window manager and a terminal on the " +
    "agent's host, then restart the agent.",
  command: "apt install tigervnc-standalone-server openbox xterm",
};

/** What the operator should know: the edge's hints, and one of the console's own when only the demo is on offer. */
export function hints(told: Hint[], agents: Agents | undefined): HTMLElement {
  const list = h("div", { class: "hints", role: "status" });
  let shown = "";
  const show = () => {
    const own = agents?.onlyDemo && !told.some(({ code }) => code.includes("demo")) ? [realDesktops] : [];
    const all = [...told, ...own];
    const codes = all.map(({ code }) => code).join();
    if (codes === shown) return;
    shown = codes;
    fill(list, ...all.map(hint));
  };
  agents?.onChange(show);
  show();
  return list;
}

function hint({ code, text, command }: Hint): HTMLElement {
  return h(
    "div",
    { class: "hint", "data-testid": "hint", "data-code": code },
    icon("info"),
    h("div", {}, h("p", {}, text), command && commandLine(command)),
  );
}

function commandLine(command: string): HTMLElement {
  const copy = h("button", { type: "button", class: "icon-button", "aria-label": "Copy the command", title: "Copy" }, icon("copy"));
  const code = h("code", {}, command);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.title = "Copied";
    } catch {
      getSelection()?.selectAllChildren(code); // to be copied by hand
    }
  });
  return h("div", { class: "command" }, code, copy);
}
