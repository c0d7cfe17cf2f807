/** Tabs, the keys that work anywhere outside of a text field, and their list. */
import { button, element } from "./elements.ts";

/** The tabs of the page: buttons `tab-NAME` over panels `panel-NAME`. */
export class Tabs<Name extends string> {
  private readonly names: readonly Name[];

  /** The first one is chosen. */
  constructor(names: readonly Name[]) {
    this.names = names;
    for (const name of names) {
      const own = button(`tab-${name}`);
      own.addEventListener("click", () => this.choose(name));
      own.addEventListener("keydown", (event) => {
        const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
        const shown = this.shown;
        const next = shown[(shown.indexOf(name) + step + shown.length) % shown.length];
        if (step === 0 || next === undefined) return;
        this.choose(next);
        button(`tab-${next}`).focus();
        event.preventDefault();
      });
    }
    const [first] = names;
    if (first !== undefined) this.choose(first);
  }

  /** Those that are not hidden. */
  get shown(): readonly Name[] {
    return this.names.filter((name) => !button(`tab-${name}`).hidden);
  }

  /** Shows the panel of a tab; one that is hidden is left alone. */
  choose(chosen: Name): void {
    if (!this.shown.includes(chosen)) return;
    for (const name of this.names) {
      const own = button(`tab-${name}`);
      own.ariaSelected = String(name === chosen);
      own.tabIndex = name === chosen ? 0 : -1;
      element(`panel-${name}`, HTMLDivElement).hidden = name !== chosen;
    }
  }

  /** Chooses the one of a place, from 1, and moves the focus there: whether there is one. */
  take(place: number): boolean {
    const name = this.names[place - 1];
    if (name === undefined || !this.shown.includes(name)) return false;
    this.choose(name);
    button(`tab-${name}`).focus();
    return true;
  }
}

/** Sets shortcuts up, and `?` for their list: digits choose tabs, other keys do what `actions` says. */
export function startShortcuts(tabs: Tabs<string>, actions: Readonly<Record<string, () => void>>): void {
  const help = element("help", HTMLDialogElement);
  const openHelp = (): void => help.showModal();
  button("help-open").addEventListener("click", openHelp);

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const action = actions[event.key];
    if (/^[1-9]$/.test(event.key)) {
      if (!tabs.take(Number(event.key))) return;
    } else if (event.key === "t") button("theme").click();
    else if (event.key === "?") openHelp();
    else if (action !== undefined) action();
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
