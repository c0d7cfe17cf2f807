/** The sandbox page: starts its panels around the one store that is open. */
import { connect, restore } from "../../hosts/browser.ts";
import { element } from "../page/elements.ts";
import { report } from "../page/messages.ts";
import { startTheme } from "../page/theme.ts";
import { startBenchmark } from "./benchmark-panel.ts";
import { startCrash } from "./crash-panel.ts";
import { missing } from "./files.ts";
import { startKeyboard } from "./keyboard.ts";
import { startRecords } from "./records-panel.ts";
import { Session } from "./session.ts";
import { startStats } from "./stats-panel.ts";
import { startStores } from "./stores-panel.ts";
import { startVerify } from "./verify-panel.ts";

startTheme("cairn-sandbox-theme");
startKeyboard();
// For the console: `const store = await cairn.connect("app.cairn")`.
Object.assign(globalThis, { cairn: { connect, restore } });
const reason = missing();
if (reason === undefined) {
  const session = new Session();
  startRecords(session);
  startBenchmark();
  startStats(session);
  startCrash(session);
  startVerify(session);
  startStores(session);
} else {
  report(new Error(reason));
  element("stores", HTMLElement).inert = true;
  element("work", HTMLElement).inert = true;
}
