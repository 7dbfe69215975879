import type { Context } from "../app.ts";
import { brand } from "../ui/brand.ts";
import { h } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";
import { themeButton } from "../ui/theme.ts";
import { Agents } from "./agents.ts";
import { Desktops } from "./desktops.ts";
import { hints } from "./hints.ts";

/** The page at "/": the desktops and, for admins, the agents that run them. */
export function consolePage(context: Context, signal: AbortSignal): HTMLElement {
  const { me } = context;
  const agents = me.role === "admin" ? new Agents(context, signal) : undefined;
  const desktops = new Desktops(context, agents, signal);
  return h(
    "div",
    { class: "console" },
    header(context),
    h("main", {}, hints(context, signal), desktops.element, agents?.element),
    h("footer", { class: "quiet small" }, `StreamSpace Edge ${me.version}`),
  );
}

function header({ me, logOut }: Context): HTMLElement {
  return h(
    "header",
    { class: "top" },
    brand(),
    h("span", { class: "stretch" }),
    h("span", { class: "who", title: `Role: ${me.role}` }, me.owner || me.name, me.org && h("span", { class: "quiet" }, ` · ${me.org}`)),
    themeButton(),
    h(
      "button",
      { type: "button", class: "icon-button", "aria-label": "Log out", title: "Log out", "data-testid": "logout", onclick: () => void logOut() },
      icon("logout"),
    ),
  );
}
