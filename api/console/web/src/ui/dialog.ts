import { h, type Child } from "./dom.ts";

interface Question {
  title: string;
  text: Child;
  confirm: string;
  danger?: boolean;
  testid?: string;
}

/** Asks a yes-or-no question. Escape, and the focus at first, are on "no". */
export async function confirm({ title, text, confirm: yes, danger, testid }: Question): Promise<boolean> {
  const dialog = h(
    "dialog",
    { class: "card", "aria-labelledby": "dialog-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      h(
        "div",
        { class: "actions" },
        h("button", { class: "button", value: "", autofocus: true }, "Cancel"),
        h("button", { class: danger ? "button danger" : "button primary", value: "yes", "data-testid": testid }, yes),
      ),
    ),
  );
  return (await show(dialog)) === "yes";
}

/** Asks for values by name, with what was wrong with the last ones, if anything; undefined when the person declines, or the signal aborts. */
export async function askFor(
  title: string,
  text: string,
  fields: { name: string; label: string; secret: boolean }[],
  wrong: string,
  signal: AbortSignal,
): Promise<Record<string, string> | undefined> {
  const inputs = fields.map(({ name, label, secret }) => ({
    name,
    label,
    input: h("input", { id: `ask-${name}`, type: secret ? "password" : "text", autocomplete: "off", spellcheck: "false", "aria-describedby": "ask-wrong" }),
  }));
  const dialog = h(
    "dialog",
    { class: "card", "aria-labelledby": "dialog-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "dialog-title" }, title),
      h("p", {}, text),
      h("p", { class: "error", id: "ask-wrong", role: "alert", "data-testid": "ask-wrong" }, wrong),
      ...inputs.map(({ input, label }) => h("div", { class: "field" }, h("label", { for: input.id }, label), input)),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { class: "button primary", value: "yes" }, "Continue"),
      ),
    ),
  );
  signal.addEventListener("abort", () => dialog.close(), { once: true });
  if ((await show(dialog)) !== "yes") return undefined;
  return Object.fromEntries(inputs.map(({ name, input }) => [name, input.value]));
}

/** Shows a dialog until it is closed, and returns its value. */
async function show(dialog: HTMLDialogElement): Promise<string> {
  // Only what is inside the full-screen element can be seen.
  (document.fullscreenElement ?? document.body).append(dialog);
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  dialog.remove();
  return dialog.returnValue;
}
