/** The tabs, and the keys that work anywhere outside of a text field. */
import { button, element, input } from "../page/elements.ts";
import { startShortcuts, Tabs } from "../page/keyboard.ts";

const TABS = ["records", "benchmark", "stats", "crash", "verify"] as const;

/** Sets tabs, shortcuts and their list up. */
export function startKeyboard(): void {
  const tabs = new Tabs(TABS);

  function toRecords(act: () => void): void {
    tabs.choose("records");
    if (document.body.classList.contains("has-store")) act();
  }

  startShortcuts(tabs, {
    s: toStores,
    "/": () => toRecords(() => input("prefix").select()),
    n: () => toRecords(() => button("record-new").click()),
    v() {
      tabs.choose("verify");
      const run = button("verify-run");
      const isOpen = document.body.classList.contains("has-store");
      (isOpen ? run : button("tab-verify")).focus();
      run.click();
    },
  });
}

function toStores(): void {
  const list = element("store-list", HTMLUListElement);
  const opened = list.querySelector<HTMLElement>("[aria-current=true]") ?? list.querySelector("button");
  (opened ?? input("store-name")).focus();
}
