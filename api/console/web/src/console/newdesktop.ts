import { api } from "../api/client.ts";
import type { SessionWish } from "../api/types.ts";
import type { Context } from "../app.ts";
import { fill, h } from "../ui/dom.ts";
import { icon } from "../ui/icons.ts";

const sizes = ["1280 × 800", "1600 × 900", "1920 × 1080", "2560 × 1440"];

/** The button that gives a new desktop at once, and the options for those who want another one. */
export class NewDesktop {
  private readonly create: HTMLButtonElement;
  private readonly name = h("input", { id: "new-name", type: "text", maxlength: 100, autocomplete: "off", placeholder: "Reports", "data-testid": "new-name" });
  private readonly runtimes = h("datalist", { id: "runtimes" });
  private readonly runtime = h("input", { id: "new-runtime", type: "text", list: "runtimes", autocomplete: "off", spellcheck: "false", placeholder: "Default", "data-testid": "new-runtime" });
  private readonly machines = h("datalist", { id: "machines" });
  private readonly machine = h("input", { id: "new-machine", type: "text", list: "machines", autocomplete: "off", spellcheck: "false", placeholder: "Any", "data-testid": "new-machine" });
  private readonly machineField = h("div", { class: "field", hidden: true }, h("label", { for: "new-machine" }, "Machine"), this.machine, this.machines);
  private readonly size = h(
    "select",
    { id: "new-size", "data-testid": "new-size" },
    h("option", { value: "" }, "Default"),
    h("option", { value: "window" }, "As this window"),
    ...sizes.map((size) => h("option", {}, size)),
  );
  readonly buttons: HTMLElement;
  readonly options: HTMLFormElement;

  constructor(private readonly context: Context) {
    this.create = h(
      "button",
      { type: "button", class: "button primary", title: "New desktop (N)", "data-testid": "new-desktop", onclick: () => void this.submit({}) },
      icon("plus"),
      h("span", {}, "New desktop"),
    );
    const toggle = h(
      "button",
      { type: "button", class: "icon-button", "aria-label": "Options for a new desktop", title: "Options", "aria-expanded": "false", "aria-controls": "new-options", "data-testid": "new-options" },
      icon("sliders"),
    );
    this.options = h(
      "form",
      {
        class: "card options",
        id: "new-options",
        hidden: true,
        onsubmit: (event) => {
          event.preventDefault();
          void this.submit(this.wish());
        },
      },
      h("div", { class: "field" }, h("label", { for: "new-name" }, "Name"), this.name),
      h("div", { class: "field" }, h("label", { for: "new-runtime" }, "Runtime"), this.runtime, this.runtimes),
      this.machineField,
      h("div", { class: "field" }, h("label", { for: "new-size" }, "Size"), this.size),
      h("button", { class: "button primary", "data-testid": "create-desktop" }, "Create"),
    );
    toggle.addEventListener("click", () => {
      this.options.hidden = !this.options.hidden;
      toggle.setAttribute("aria-expanded", String(!this.options.hidden));
      if (this.options.hidden) return;
      this.name.focus();
      void this.offer();
    });
    for (const field of [this.runtime, this.machine]) field.addEventListener("focus", () => void this.offer());
    this.buttons = h("div", { class: "split" }, this.create, toggle);
  }

  /** N anywhere on the page but in a field creates a desktop. */
  key(event: KeyboardEvent): void {
    const busy = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
    if (event.key !== "n" || event.ctrlKey || event.altKey || event.metaKey || event.repeat || busy) return;
    event.preventDefault();
    void this.submit({});
  }

  private async submit(wish: SessionWish): Promise<void> {
    if (this.create.disabled) return;
    this.create.disabled = true;
    await this.context.create(wish);
    this.create.disabled = false;
  }

  /** Lists the runtimes and machines that can be had now; an edge that can't tell leaves the lists as they were. */
  private async offer(): Promise<void> {
    try {
      const { runtimes, endpoints } = await api.me();
      fill(this.runtimes, ...runtimes.map((name) => h("option", { value: name })));
      fill(this.machines, ...endpoints.map((name) => h("option", { value: name })));
      this.machineField.hidden = endpoints.length === 0 && this.machine.value === "";
    } catch {
      // any name may be typed
    }
  }

  private wish(): SessionWish {
    const name = this.name.value.trim();
    const runtime = this.runtime.value.trim();
    const endpoint = this.machine.value.trim();
    return {
      ...(name && { name }),
      ...(runtime && { runtime }),
      ...(endpoint && { labels: { endpoint } }),
      ...sizeOf(this.size.value),
    };
  }
}

function sizeOf(choice: string): Pick<SessionWish, "width" | "height"> {
  if (choice === "window") {
    const even = (pixels: number) => pixels - (pixels % 2); // some encoders need it
    return { width: even(window.innerWidth), height: even(window.innerHeight - 48) }; // beside the viewer's toolbar
  }
  const [width, height] = choice.split(" × ").map(Number);
  return width && height ? { width, height } : {};
}
