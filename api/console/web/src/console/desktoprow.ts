import { edgeClock } from "../api/client.ts";
import type { Session, State } from "../api/types.ts";
import type { Context } from "../app.ts";
import { age, countdown, desktopName, reasonWords, stateWords } from "../text.ts";
import { fill, h, setText } from "../ui/dom.ts";
import { askAndStop } from "./actions.ts";
import type { Agents } from "./agents.ts";

const canBeOpened: ReadonlySet<State> = new Set<State>(["pending", "starting", "running", "hibernated", "unreachable"]);

interface RowActions {
  changed(): void;
  dismiss(id: string): void;
  isDismissed(id: string): boolean;
}

/** One row of the list of desktops. */
export function desktopRow(first: Session, context: Context, agents: Agents | undefined, actions: RowActions) {
  let latest = first;
  const link = (path: string, label: string, testid: string) =>
    h(
      "a",
      {
        href: path,
        class: "button small",
        "data-testid": testid,
        onclick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a new tab or window
          event.preventDefault();
          context.go(path);
        },
      },
      label,
    );
  const named = h("span", { class: "name" });
  const detail = h("span", { class: "quiet small" });
  const state = h("span", { class: "state", "data-testid": "desktop-state" });
  const ends = h("span", { class: "small ends", "data-testid": "desktop-ends" });
  const reason = h("span", { class: "quiet small reason", "data-testid": "desktop-reason" });
  const cell = (label: string) => h("td", { "data-label": label });
  const host = agents && cell("Host");
  const runtime = cell("Runtime");
  const viewers = cell("Viewers");
  const since = cell("Age");
  const open = link(`/desktop/${first.id}`, "Open", "open");
  const watch = link(`/desktop/${first.id}?mode=view`, "Watch", "watch");
  watch.title = "Look on without keys, pointer and clipboard";
  const stop = h(
    "button",
    {
      type: "button",
      class: "button small",
      "data-testid": "stop",
      onclick: async () => {
        if (await askAndStop({ ...latest, name: desktopName(latest) }, context)) actions.changed();
      },
    },
    "Stop",
  );
  const dismiss = h(
    "button",
    { type: "button", class: "button small", title: "Take it off this list", "data-testid": "dismiss", onclick: () => actions.dismiss(first.id) },
    "Dismiss",
  );
  const row = h(
    "tr",
    { "data-testid": "desktop-row", "data-id": first.id },
    h("th", { scope: "row" }, named, detail),
    h("td", { "data-label": "State" }, state, ends, reason),
    host,
    runtime,
    viewers,
    since,
    h("td", { class: "actions" }, open, watch, stop, dismiss),
  );
  const update = (session: Session) => {
    latest = session;
    const name = desktopName(session);
    setText(named, name);
    setText(detail, session.endpoint || (session.width ? `${session.width} × ${session.height}` : ""));
    if (state.dataset["state"] !== session.state) {
      state.dataset["state"] = session.state;
      fill(state, h("span", { class: "dot" }), stateWords[session.state]);
    }
    setText(ends, endsWords(session));
    setText(reason, reasonWords(session.reason));
    reason.title = reason.textContent ?? "";
    if (host) setText(host, session.agent_id ? agents.nameOf(session.agent_id) : session.endpoint ? "direct" : "–");
    setText(runtime, session.runtime || "–");
    setText(viewers, String(session.viewers));
    setText(since, age(session.created_at));
    since.title = session.created_at ? new Date(session.created_at).toLocaleString() : "";
    open.hidden = !canBeOpened.has(session.state);
    watch.hidden = stop.hidden = open.hidden;
    dismiss.hidden = session.state !== "failed" || actions.isDismissed(session.id);
    open.setAttribute("aria-label", `Open ${name}`);
    watch.setAttribute("aria-label", `Watch ${name}`);
    stop.setAttribute("aria-label", `Stop ${name}`);
    dismiss.setAttribute("aria-label", `Dismiss ${name}`);
  };
  update(first);
  return { row, update };
}

function endsWords({ ends_at, ends_because }: Session): string {
  if (!ends_at) return "";
  const why = ends_because === "idle_timeout" ? "nobody has used it" : "its time is up";
  return `Ends in ${countdown(Date.parse(ends_at) - edgeClock.now())}: ${why}.`;
}
