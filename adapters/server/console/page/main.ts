/** The console: starts its panels around whoever has signed in. */
import { button, element, input } from "../../../page/elements.ts";
import { startShortcuts, Tabs } from "../../../page/keyboard.ts";
import { startTheme } from "../../../page/theme.ts";
import { startActivity } from "./activity-panel.ts";
import { startBackup } from "./backup-panel.ts";
import { startRecords } from "./records-panel.ts";
import { startSegments } from "./segments-panel.ts";
import { Session } from "./session.ts";
import { startSignIn } from "./sign-in.ts";
import { startSlow } from "./slow-panel.ts";
import { startWatch } from "./watch-panel.ts";

startTheme("cairn-console-theme");
const session = new Session();
const tabs = new Tabs(["records", "watch", "activity", "segments", "slow", "backup"] as const);
const records = startRecords(session);
startWatch(session);
startActivity(session);
startSegments(session);
startSlow(session);
startBackup(session);

const toRecords = (act: () => void): void => {
  if (session.api === undefined) return;
  tabs.choose("records");
  act();
};
startShortcuts(tabs, {
  "/": () => toRecords(() => input("prefix").select()),
  n: () => toRecords(() => button("record-new").click()),
  r: () => toRecords(records.refresh),
  k: () => toRecords(() => element("keys", HTMLDivElement).focus()),
});
startSignIn(session, () => {
  tabs.choose("records");
  input("prefix").focus();
});
