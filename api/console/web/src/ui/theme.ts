import { fill, h } from "./dom.ts";
import { icon, type IconName } from "./icons.ts";
import { preference, remember, type Preferences } from "./preferences.ts";

type Theme = Preferences["theme"];

const themes: Record<Theme, { next: Theme; icon: IconName; label: string }> = {
  auto: { next: "light", icon: "themeAuto", label: "Colours: as the system" },
  light: { next: "dark", icon: "sun", label: "Colours: light" },
  dark: { next: "auto", icon: "moon", label: "Colours: dark" },
};

export function applyTheme(theme: Theme = preference("theme")): void {
  document.documentElement.dataset["theme"] = theme;
}

/** A button that goes through the themes. */
export function themeButton(): HTMLButtonElement {
  const button = h("button", { type: "button", class: "icon-button", "data-testid": "theme" });
  const show = (theme: Theme) => {
    applyTheme(theme);
    const { icon: name, label } = themes[theme] ?? themes.auto;
    fill(button, icon(name));
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    const { next } = themes[preference("theme")] ?? themes.auto;
    remember("theme", next);
    show(next);
  });
  show(preference("theme"));
  return button;
}
