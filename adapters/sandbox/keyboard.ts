/** The tabs, and the keys that work anywhere outside of a text field. */
import { button, element, input } from "./elements.ts";

const TABS = ["records", "benchmark", "stats", "crash", "verify"] as const;
type Tab = (typeof TABS)[number];

/** Sets tabs, shortcuts and their list up. */
export function startKeyboard(): void {
  startTabs();
  const help = element("help", HTMLDialogElement);
  const openHelp = (): void => help.showModal();
  button("help-open").addEventListener("click", openHelp);

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const tab = TABS[Number(event.key) - 1];
    if (tab) {
      choose(tab);
      button(`tab-${tab}`).focus();
    } else if (event.key === "s") toStores();
    else if (event.key === "/") toRecords(() => input("prefix").select());
    else if (event.key === "n") toRecords(() => button("record-new").click());
    else if (event.key === "v") verify();
    else if (event.key === "t") button("theme").click();
    else if (event.key === "?") openHelp();
    else return;
    event.preventDefault();
  });
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLTextAreaElement ||
    target instanceof HTMLSelectElement ||
    (target instanceof HTMLInputElement && target.type !== "checkbox" && target.type !== "file")
  );
}

function toStores(): void {
  const list = element("store-list", HTMLUListElement);
  const opened = list.querySelector<HTMLElement>("[aria-current=true]") ?? list.querySelector("button");
  (opened ?? input("store-name")).focus();
}

function toRecords(act: () => void): void {
  choose("records");
  if (document.body.classList.contains("has-store")) act();
}

function verify(): void {
  choose("verify");
  const run = button("verify-run");
  const isOpen = document.body.classList.contains("has-store");
  (isOpen ? run : button("tab-verify")).focus();
  run.click();
}

function startTabs(): void {
  for (const [index, tab] of TABS.entries()) {
    const own = button(`tab-${tab}`);
    own.addEventListener("click", () => choose(tab));
    own.addEventListener("keydown", (event) => {
      const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      const next = TABS[(index + step + TABS.length) % TABS.length];
      if (step === 0 || !next) return;
      choose(next);
      button(`tab-${next}`).focus();
      event.preventDefault();
    });
  }
  choose("records");
}

function choose(chosen: Tab): void {
  for (const tab of TABS) {
    const own = button(`tab-${tab}`);
    own.ariaSelected = String(tab === chosen);
    own.tabIndex = tab === chosen ? 0 : -1;
    element(`panel-${tab}`, HTMLDivElement).hidden = tab !== chosen;
  }
}
