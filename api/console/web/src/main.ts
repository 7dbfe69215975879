import { App } from "./app.ts";
import { applyTheme } from "./ui/theme.ts";

applyTheme();
new App(document.body).start();
