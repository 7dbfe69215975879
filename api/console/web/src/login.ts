import { api } from "./api/client.ts";
import { brand } from "./ui/brand.ts";
import { h } from "./ui/dom.ts";
import { sentence } from "./text.ts";
import { themeButton } from "./ui/theme.ts";

/** Asks for the key. The server turns it into a cookie that scripts can't read; nothing else keeps it. */
export function loginPage(loggedIn: () => void): HTMLElement {
  const key = h("input", {
    id: "key",
    type: "password",
    autocomplete: "current-password",
    spellcheck: "false",
    required: true,
    "data-autofocus": true,
    "aria-describedby": "key-help key-error",
    "data-testid": "login-key",
  });
  const submit = h("button", { class: "button primary wide", "data-testid": "login-submit" }, "Log in");
  const error = h("p", { id: "key-error", class: "error", role: "alert", "data-testid": "login-error" });
  const form = h(
    "form",
    {
      class: "card login",
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        error.textContent = "";
        try {
          await api.login(key.value.trim());
          key.value = "";
          loggedIn();
        } catch (failure) {
          error.textContent = sentence((failure as Error).message);
          key.setAttribute("aria-invalid", "true");
          key.select();
        }
        submit.disabled = false;
      },
    },
    h("h1", {}, brand()),
    h("p", { class: "quiet" }, "Log in to your desktops."),
    h("input", { type: "text", autocomplete: "username", value: "streamspace", hidden: true }), // for password managers
    h("div", { class: "field" }, h("label", { for: "key" }, "Access key"), key),
    error,
    submit,
    h(
      "p",
      { class: "quiet small", id: "key-help" },
      "Your operator gives you the key. ",
      h("code", {}, "streamspace dev"),
      " prints one when it starts.",
    ),
  );
  return h("main", { class: "centred" }, h("div", { class: "corner" }, themeButton()), form);
}
