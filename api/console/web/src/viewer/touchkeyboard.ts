import { h } from "../ui/dom.ts";
import { keysBetween, namedKeys } from "./keysym.ts";

/** On-screen keyboards tell of a backspace only where there is something to delete. */
const filler = "_".repeat(64);
const longest = 1000; // characters, before it is emptied of what was typed

/**
 * The on-screen keyboard of a touch screen: browsers bring one up for a field
 * of text only, and tell not its keys but what becomes of the text.
 */
export class TouchKeyboard {
  readonly element = h("textarea", {
    class: "touch-keyboard",
    "aria-label": "Keys for the desktop",
    autocomplete: "off",
    autocapitalize: "off",
    autocorrect: "off",
    spellcheck: "false",
    tabindex: -1,
    "data-testid": "touch-keyboard",
  });
  private text = filler;
  private composing = false;

  /** Presses keys by their keysyms. Calls back when it comes up or goes away. */
  constructor(
    private readonly press: (keysym: number) => void,
    toggled: (up: boolean) => void,
  ) {
    this.empty();
    this.element.addEventListener("input", () => this.typed());
    this.element.addEventListener("compositionstart", () => (this.composing = true));
    this.element.addEventListener("compositionend", () => (this.composing = false));
    this.element.addEventListener("keydown", (event) => this.named(event));
    this.element.addEventListener("focus", () => {
      this.empty();
      toggled(true);
    });
    this.element.addEventListener("blur", () => toggled(false));
  }

  get isUp(): boolean {
    return document.activeElement === this.element;
  }

  toggle(): void {
    if (this.isUp) this.element.blur();
    else this.element.focus({ preventScroll: true });
  }

  private typed(): void {
    const { value } = this.element;
    for (const keysym of keysBetween(this.text, value)) this.press(keysym);
    this.text = value;
    const used = value.length < filler.length / 2 || value.length > longest;
    if (used && !this.composing) this.empty(); // a word that is being composed would be lost
  }

  private named(event: KeyboardEvent): void {
    const keysym = namedKeys.get(event.key);
    if (keysym === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.press(keysym);
  }

  private empty(): void {
    this.text = this.element.value = filler;
    this.element.setSelectionRange(filler.length, filler.length);
  }
}
