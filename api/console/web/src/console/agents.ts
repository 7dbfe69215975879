import { api } from "../api/client.ts";
import type { Agent } from "../api/types.ts";
import type { Context } from "../app.ts";
import { age } from "../text.ts";
import { coalesce, every, fill, h, setText } from "../ui/dom.ts";
import { Rows } from "../ui/rows.ts";

/** The agents and how full they are, for admins. */
export class Agents {
  private known: Agent[] = [];
  private readonly listeners: (() => void)[] = [];
  private readonly rows = new Rows<Agent>((agent) => agentRow(agent, (change) => this.change(change)));
  private readonly empty = h(
    "p",
    { class: "empty", hidden: true },
    "No agent has joined yet. Start one on the host that shall run the desktops: ",
    h("code", {}, "streamspace agent --edge URL --token-file FILE"),
  );
  private readonly table = h(
    "table",
    { class: "card" },
    h("thead", {}, h("tr", {}, ...["Agent", "State", "Desktops", "Runtimes", "Last heard of", ""].map(columnHead))),
    this.rows.element,
  );
  readonly element = h("section", { "aria-labelledby": "agents-title" }, h("div", { class: "section-head" }, h("h2", { id: "agents-title" }, "Agents")), this.table, this.empty);
  private readonly refresh: () => void;

  constructor(
    private readonly context: Context,
    signal: AbortSignal,
  ) {
    this.refresh = coalesce(async () => {
      try {
        this.show(await api.agents(signal));
      } catch (error) {
        if (!signal.aborted) this.context.failed(error);
      }
    });
    context.changes.listen(() => this.refresh(), signal); // a session's change is its agent's, too
    every(5000, signal, () => this.rows.update(this.known));
    this.refresh();
  }

  /** The agent's name, or its id while it is not known. */
  nameOf(id: string): string {
    return this.known.find((agent) => agent.id === id)?.name ?? id.slice(-8);
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  private show(agents: Agent[]): void {
    this.known = agents;
    this.rows.update(agents);
    this.table.hidden = agents.length === 0;
    this.empty.hidden = agents.length > 0;
    for (const listener of this.listeners) listener();
  }

  private async change(change: Promise<Agent>): Promise<void> {
    try {
      await change;
      this.refresh();
    } catch (error) {
      this.context.failed(error);
    }
  }
}

export const columnHead = (label: string): HTMLElement =>
  h("th", { scope: "col" }, label || h("span", { class: "unseen" }, "Actions"));

function agentRow(first: Agent, change: (change: Promise<Agent>) => Promise<void>) {
  const cell = (label: string, ...content: (Node | string)[]) => h("td", { "data-label": label }, ...content);
  const name = h("th", { scope: "row" });
  const state = h("span", { class: "state" });
  const fullness = h("span");
  const meter = h("span", { class: "meter", "aria-hidden": "true" }, h("span"));
  const runtimes = cell("Runtimes");
  const heard = cell("Last heard of");
  let latest = first;
  const drain = h("button", {
    type: "button",
    class: "button small",
    "data-testid": "drain",
    onclick: () => void change(latest.status === "draining" ? api.resumeAgent(latest.id) : api.drainAgent(latest.id)),
  });
  const row = h(
    "tr",
    { "data-testid": "agent-row" },
    name,
    cell("State", state),
    cell("Desktops", h("span", { class: "fullness" }, meter, fullness)),
    runtimes,
    heard,
    h("td", { class: "actions" }, drain),
  );
  const update = (agent: Agent) => {
    latest = agent;
    setText(name, agent.name);
    name.title = agent.version && `Version ${agent.version}`;
    state.dataset["state"] = agent.status;
    fill(state, h("span", { class: "dot" }), agent.status);
    setText(fullness, `${agent.active_sessions} of ${agent.room}`);
    const reserve = agent.capacity - agent.room;
    fullness.title = reserve > 0 ? `Of its capacity of ${agent.capacity} the edge keeps ${reserve} free (agents.headroom)` : "";
    const share = agent.room > 0 ? Math.min(1, agent.active_sessions / agent.room) : 0;
    (meter.firstElementChild as HTMLElement).style.width = `${share * 100}%`;
    setText(runtimes, agent.runtimes.map(({ name, slots }) => (slots ? `${name} (${slots})` : name)).join(", ") || "none");
    setText(heard, age(agent.last_heartbeat));
    setText(drain, agent.status === "draining" ? "Resume" : "Drain");
    drain.setAttribute("aria-label", `${drain.textContent} ${agent.name}`);
    drain.title = agent.status === "draining" ? "Give it new desktops again" : "Give it no new desktops; those that run stay";
    drain.hidden = agent.status === "offline";
  };
  update(first);
  return { row, update };
}
