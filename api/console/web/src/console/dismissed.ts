import { preference, remember } from "../ui/preferences.ts";

const most = 100;

/** The failed desktops that the person has seen enough of, the latest of them at most. */
export class Dismissed {
  private ids = preference("dismissed").split(",").filter(Boolean);

  get count(): number {
    return this.ids.length;
  }

  has(id: string): boolean {
    return this.ids.includes(id);
  }

  add(id: string): void {
    this.ids = [...this.ids.filter((other) => other !== id), id].slice(-most);
    remember("dismissed", this.ids.join());
  }
}
