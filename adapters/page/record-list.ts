/** The records of a page: keys by prefix in a list of any length, and the one that is chosen in a form. */
import { startsWith } from "../key-bytes.ts";
import { bytesOf, hexOf, textOf } from "./bytes.ts";
import { button, element, input } from "./elements.ts";
import { counted } from "./figures.ts";
import { KeyRanks, type KeySource } from "./key-ranks.ts";
import { report } from "./messages.ts";
import type { RecordForm } from "./record-form.ts";
import { VirtualList } from "./virtual-list.ts";

/** What the pages differ in. */
export interface RecordSource {
  /** The keys that there are: another object when they are another store's, `undefined` while nothing is open. */
  keys(): KeySource | undefined;
  /** Whether the keys that were ranked are still those that there are. */
  isCurrent(ranks: KeyRanks): Promise<boolean>;
  /** What is said of a search that failed. */
  reasonOf(error: unknown): string;
  /** Whether the list that is shown stays when a search for another one fails; else it is emptied. */
  keepsList: boolean;
  /** Milliseconds after a change of the prefix in which another one may come before the keys are searched. */
  searchMs: number;
}

/** The list, for the panel around it. */
export interface RecordList {
  /** Begins anew, without a record: another store is open, or none. */
  restart(): void;
  /** Counts and lists the keys anew, in place. */
  refresh(): void;
  /** Does so when they are not the same any more and the list is seen. */
  look(): Promise<void>;
}

/** Sets the list up, with the form over the record that is chosen, which it starts. */
export function startRecordList(source: RecordSource, form: RecordForm): RecordList {
  const box = element("keys", HTMLDivElement);
  const prefix = input("prefix");
  const isHex = input("prefix-hex");
  const total = element("key-count", HTMLOutputElement);
  let ranks: KeyRanks | undefined;
  /** A search that was overtaken by a later one is dropped. */
  let search = 0;
  /** Whether another list is wanted than the one that is shown: also of a search that would keep it, and overtakes. */
  let isAnother = true;
  let typing: ReturnType<typeof setTimeout> | undefined;
  /** The record that was chosen last, and its rank then. */
  let chosen: { key: Uint8Array; rank: number } | undefined;

  const list = new VirtualList<Uint8Array>(box, {
    fetch: async (first, count) => (await ranks?.window(first, count)) ?? [],
    render(row, key) {
      const text = textOf(key, "one");
      row.textContent = text ?? hexOf(key);
      row.classList.toggle("hex", text === undefined);
    },
    choose(key, rank, isEdit) {
      chosen = { key, rank };
      void form.show(key).then((isShown) => {
        if (isShown && isEdit) form.focus();
      });
    },
    remove: (key) => void form.remove(key).then(() => box.focus()),
    fail: (error) => fail(error),
  });

  form.start(
    (key) => void findWritten(key),
    () => box.focus(),
  );

  /** A failure counts only while something is open. */
  function fail(error: unknown): void {
    if (source.keys()) report(error);
  }

  /** Lists the keys anew after one was written, and has the list choose that one while the form shows it. */
  async function findWritten(key: Uint8Array): Promise<void> {
    const { choices } = list;
    await find(true);
    if (!ranks || !form.shows(key)) return;
    try {
      const rank = await ranks.rankOf(key);
      // Another record may have been chosen meanwhile, which the form shows once it is fetched.
      if (isAnother || choices !== list.choices || !form.shows(key) || !startsWith(key, ranks.prefix)) return;
      chosen = { key, rank };
      await list.select(rank, true);
    } catch (error) {
      fail(error);
    }
  }

  function none(): void {
    ranks = undefined;
    chosen = undefined;
    list.reset(0);
  }

  /** Keys pressed from now on are for the list that is searched next. */
  function wantAnother(): void {
    isAnother = true;
    list.hold();
  }

  /** Counts and lists the keys that match; `keep` stays where one was in the list. */
  async function find(keep: boolean): Promise<void> {
    const keys = source.keys();
    const turn = ++search;
    clearTimeout(typing);
    if (!keep) isAnother = true;
    if (!keys) {
      none();
      total.textContent = "";
      return;
    }
    try {
      const found = await KeyRanks.of(keys, bytesOf(prefix.value, isHex.checked ? "hex" : "text"));
      const before = chosen;
      const shift = before ? (await found.rankOf(before.key)) - before.rank : 0;
      if (turn !== search) return;
      ranks = found;
      total.classList.remove("bad");
      total.textContent = `${counted(found.count)} ${found.count === 1 ? "key" : "keys"}`;
      if (isAnother) {
        isAnother = false;
        chosen = undefined;
        list.reset(found.count);
      } else {
        list.refresh(found.count, shift);
        if (chosen) chosen = { key: chosen.key, rank: chosen.rank + shift };
      }
    } catch (error) {
      if (turn !== search || source.keys() !== keys) return;
      if (source.keepsList) list.release();
      else if (isAnother) none();
      total.classList.add("bad");
      total.textContent = source.reasonOf(error);
    }
  }

  const typed = (): void => {
    clearTimeout(typing);
    wantAnother();
    typing = setTimeout(() => void find(false), source.searchMs);
  };
  prefix.addEventListener("input", typed);
  isHex.addEventListener("change", typed);
  prefix.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "ArrowDown" && event.key !== "Escape") return;
    event.preventDefault();
    // At once: the next key may be pressed before the keys are found.
    box.focus();
    if (event.key === "Escape") return;
    wantAnother();
    list.press("Home");
    void find(false);
  });

  button("record-new").addEventListener("click", () => {
    list.dropChoice();
    form.clear();
    form.focus();
  });

  return {
    restart() {
      form.clear();
      void find(false);
    },
    refresh: () => void find(true),
    async look() {
      const keys = source.keys();
      if (!keys || !ranks || document.hidden || box.offsetParent === null) return;
      const turn = search;
      try {
        const isCurrent = await source.isCurrent(ranks);
        if (turn === search && !isCurrent) await find(true);
      } catch (error) {
        if (source.keys() === keys) report(error);
      }
    },
  };
}
