import { h } from "./dom.ts";

interface Row<Item> {
  row: HTMLElement;
  update(item: Item): void;
}

/** The rows of a table. Those that stay are updated in place, so that focus and selection stay with them. */
export class Rows<Item extends { id: string }> {
  readonly element = h("tbody");
  private rows = new Map<string, Row<Item>>();

  constructor(private readonly make: (item: Item) => Row<Item>) {}

  update(items: Item[]): void {
    const rows = new Map<string, Row<Item>>();
    let before = this.element.firstElementChild;
    for (const item of items) {
      const known = this.rows.get(item.id);
      const row = known ?? this.make(item);
      known?.update(item);
      if (row.row === before) before = before.nextElementSibling;
      else this.element.insertBefore(row.row, before);
      rows.set(item.id, row);
    }
    for (const [id, { row }] of this.rows) if (!rows.has(id)) row.remove();
    this.rows = rows;
  }
}
