import { api } from "../api/client.ts";
import type { Hint } from "../api/types.ts";
import type { Context } from "../app.ts";
import { coalesce, fill, h } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";

/** What the operator should know, as the edge tells it, kept up to date. */
export function hints(context: Context, signal: AbortSignal): HTMLElement {
  const list = h("div", { class: "hints", role: "status" });
  let shown = "";
  const show = (hints: Hint[]) => {
    const now = JSON.stringify(hints);
    if (now === shown) return;
    shown = now;
    fill(list, ...hints.map(hint));
  };
  const refresh = coalesce(async () => {
    try {
      show((await api.me(signal)).hints);
    } catch (error) {
      if (!signal.aborted) context.failed(error);
    }
  });
  context.changes.listen(({ type }) => (type === "agent" || type === "resync") && refresh(), signal);
  refresh();
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
