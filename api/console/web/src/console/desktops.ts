import { api } from "../api/client.ts";
import type { Session, State } from "../api/types.ts";
import type { Context } from "../app.ts";
import { coalesce, every, h, setText } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";
import { Rows } from "../ui/rows.ts";
import { columnHead, type Agents } from "./agents.ts";
import { desktopRow } from "./desktoprow.ts";
import { Dismissed } from "./dismissed.ts";
import { NewDesktop } from "./newdesktop.ts";

/** How many desktops are listed at first, and added by "Show more". */
const page = 50;
const mostListed = 1000; // the API's limit

const present: State[] = ["pending", "starting", "running", "hibernated", "unreachable", "stopping", "failed"];
const all: State[] = [...present, "terminated"];

/** The list of desktops, kept up to date. */
export class Desktops {
  private known: Session[] = [];
  private readonly dismissed = new Dismissed();
  private limit = page;
  private readonly rows: Rows<Session>;
  private readonly count = h("span", { class: "count quiet" });
  private readonly ended = h("input", { type: "checkbox", id: "show-ended", "data-testid": "show-ended" });
  private readonly more = h("button", { type: "button", class: "button", hidden: true }, "Show more");
  private readonly table: HTMLElement;
  private readonly empty: HTMLElement;
  readonly element: HTMLElement;
  private readonly refresh: () => void;

  constructor(
    private readonly context: Context,
    agents: Agents | undefined,
    private readonly signal: AbortSignal,
  ) {
    const actions = {
      changed: () => this.refresh(),
      dismiss: (id: string) => {
        this.dismissed.add(id);
        this.refresh();
      },
      isDismissed: (id: string) => this.dismissed.has(id),
    };
    this.rows = new Rows((session) => desktopRow(session, context, agents, actions));
    const wish = new NewDesktop(context);
    const columns = ["Desktop", "State", ...(agents ? ["Host"] : []), "Runtime", "Viewers", "Age", ""];
    this.table = h(
      "table",
      { class: "card", hidden: true },
      h("thead", {}, h("tr", {}, ...columns.map(columnHead))),
      this.rows.element,
    );
    this.empty = h(
      "div",
      { class: "card empty", hidden: true, "data-testid": "empty" },
      h("span", { class: "mark large" }, icon("screen")),
      h("h2", {}, "No desktops"),
      h("p", { class: "quiet" }, "A desktop is a whole graphical session on one of your hosts. Start one and it opens right here; it runs on when you close the page."),
      h("p", { class: "quiet small" }, "Press ", h("kbd", {}, "N"), " or use the button above."),
    );
    this.element = h(
      "section",
      { "aria-labelledby": "desktops-title" },
      h(
        "div",
        { class: "section-head" },
        h("h1", { id: "desktops-title" }, "Desktops"),
        this.count,
        h("span", { class: "stretch" }),
        h("label", { class: "check", for: "show-ended" }, this.ended, "Show ended"),
        wish.buttons,
      ),
      wish.options,
      this.table,
      this.empty,
      h("div", { class: "more" }, this.more),
    );
    this.refresh = coalesce(() => this.read());
    this.ended.addEventListener("change", this.refresh);
    this.more.addEventListener("click", () => {
      this.limit = Math.min(this.limit + page, mostListed);
      this.refresh();
    });
    context.changes.listen(({ type }) => (type === "session" || type === "resync") && this.refresh(), signal);
    agents?.onChange(() => this.rows.update(this.known));
    every(5000, signal, () => this.rows.update(this.known)); // their ages
    every(1000, signal, () => this.known.some(({ ends_at }) => ends_at) && this.rows.update(this.known));
    document.addEventListener("keydown", (event) => wish.key(event), { signal });
    this.refresh();
  }

  private async read(): Promise<void> {
    try {
      const withEnded = this.ended.checked;
      const limit = Math.min(this.limit + (withEnded ? 0 : this.dismissed.count), mostListed);
      const { sessions: listed, next_cursor } = await api.sessions(withEnded ? all : present, limit, this.signal);
      const sessions = listed.filter(({ id }) => withEnded || !this.dismissed.has(id));
      this.known = sessions;
      this.rows.update(sessions);
      const more = next_cursor !== "";
      setText(this.count, sessions.length > 0 ? `${sessions.length}${more ? "+" : ""}` : "");
      this.more.hidden = !more || this.limit >= mostListed;
      this.table.hidden = sessions.length === 0;
      this.empty.hidden = sessions.length > 0;
    } catch (error) {
      if (!this.signal.aborted) this.context.failed(error);
    }
  }
}
