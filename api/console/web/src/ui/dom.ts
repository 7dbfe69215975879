type Value = string | number | boolean | undefined;
type Listeners = { [E in keyof HTMLElementEventMap as `on${E}`]?: (event: HTMLElementEventMap[E]) => void };
type Named =
  | "autocapitalize" | "autocomplete" | "autocorrect" | "autofocus" | "checked" | "class" | "colspan" | "disabled" | "for" | "hidden" | "href" | "id" | "list"
  | "maxlength" | "method" | "name" | "open" | "placeholder" | "popover" | "popovertarget" | "readonly" | "required"
  | "role" | "rows" | "scope" | "selected" | "spellcheck" | "tabindex" | "title" | "type" | "value";

/** Attributes and listeners (onclick: …) of an element; true sets an empty attribute, false and undefined none. */
export type Attributes = Listeners & { [N in Named | `aria-${string}` | `data-${string}`]?: Value };

export type Child = Node | string | number | null | undefined | false;

/** Makes an element. */
export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  fill(element, ...children);
  return element;
}

/** Replaces what is in an element. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter((child) => child || child === 0).map((child) => child as Node | string));
}

/** Sets an element's text if it differs, so that nothing is announced or selected anew without need. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Calls back every so many milliseconds until the signal aborts. */
export function every(milliseconds: number, signal: AbortSignal, callback: () => void): void {
  const timer = setInterval(callback, milliseconds);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/**
 * Makes an asynchronous job that never runs twice at once: a call while it
 * runs makes it run once more, however many calls there were.
 */
export function coalesce(job: () => Promise<void>): () => void {
  let running = false;
  let again = false;
  const run = async () => {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      await new Promise((resolve) => setTimeout(resolve, 50)); // changes come in bursts
      await job();
    } while (again);
    running = false;
  };
  return () => void run();
}
