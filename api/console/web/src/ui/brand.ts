import { h } from "./dom.ts";
import { icon } from "./icons.ts";

export function brand(): HTMLElement {
  return h("span", { class: "brand" }, h("span", { class: "mark" }, icon("screen")), "StreamSpace");
}
