import { api } from "../api/client.ts";
import type { Context } from "../app.ts";
import { confirm } from "../ui/dialog.ts";

/** Stops a desktop if the person is sure. Tells whether it will end. */
export async function askAndStop(desktop: { id: string; name: string }, context: Context): Promise<boolean> {
  const sure = await confirm({
    title: "Stop this desktop?",
    text: `${desktop.name} and everything that runs in it will end. What is not saved there is lost.`,
    confirm: "Stop desktop",
    danger: true,
    testid: "confirm-stop",
  });
  if (!sure) return false;
  try {
    await api.stopSession(desktop.id);
    return true;
  } catch (error) {
    context.failed(error);
    return false;
  }
}
