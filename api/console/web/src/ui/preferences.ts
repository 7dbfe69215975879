/** What a person has chosen for this browser. Nothing secret belongs here. */
export interface Preferences {
  theme: "auto" | "light" | "dark";
  scaling: "fit" | "original" | "resize";
  /** Ids of failed desktops that are not to be listed, separated by commas. */
  dismissed: string;
}

const defaults: Preferences = { theme: "auto", scaling: "fit", dismissed: "" };

export function preference<Name extends keyof Preferences>(name: Name): Preferences[Name] {
  try {
    return (localStorage.getItem(name) as Preferences[Name] | null) ?? defaults[name];
  } catch {
    return defaults[name]; // storage is switched off
  }
}

export function remember<Name extends keyof Preferences>(name: Name, value: Preferences[Name]): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // It holds for this page only.
  }
}
