import { api } from "../api/client.ts";
import type { Context } from "../app.ts";
import { confirm } from "../ui/dialog.ts";

interface Desktop {
  name: string;
  id: string;
  /** host:port of a direct session, else empty. */
  endpoint: string;
}

/** Stops a desktop if the person is sure. Tells whether it will end. */
export async function askAndStop(desktop: Desktop, context: Context): Promise<boolean> {
  const sure = await confirm({
    title: "Stop this desktop?",
    text: whatEnds(desktop),
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

/** Only what was started for the desktop ends with it, which is not told of one that has an agent. */
function whatEnds({ name, endpoint }: Desktop): string {
  return endpoint
    ? `The viewers of ${name} are disconnected. The VNC server at ${endpoint} and what runs there run on.`
    : `${name} and everything that was started for it will end. What is not saved there is lost. A VNC server that was there before runs on.`;
}
