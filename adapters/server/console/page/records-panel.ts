/** The records: keys by prefix in a list of any length, and the one that is chosen in a form. */
import { startsWith } from "../../../key-bytes.ts";
import { bytesOf, hexOf, textOf } from "../../../page/bytes.ts";
import { button, element, input } from "../../../page/elements.ts";
import { counted } from "../../../page/figures.ts";
import { KeyRanks } from "../../../page/key-ranks.ts";
import { report } from "../../../page/messages.ts";
import { reasonOf } from "../../../page/reason.ts";
import { VirtualList } from "../../../page/virtual-list.ts";
import { ApiError } from "./api.ts";
import { RemoteKeys } from "./keys.ts";
import { RecordForm } from "./record-form.ts";
import type { Session } from "./session.ts";

/** How often the panel looks whether keys came or went. Counting many keys takes the server a while: then less often. */
const LOOK_MS = 2_000;
const LOOK_SHARE = 50;
const SEARCH_MS = 120;

/** Sets the panel up. Gives what lists the keys anew. */
export function startRecords(session: Session): { refresh(): void } {
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

  const form = new RecordForm(
    session,
    (key) => {
      const { choices } = list;
      void find(true).then(async () => {
        if (!ranks || !form.shows(key)) return;
        const rank = await ranks.rankOf(key);
        // Another record may have been chosen meanwhile, which the form shows once it is fetched.
        if (choices !== list.choices || !form.shows(key) || !startsWith(key, typedPrefix())) return;
        chosen = { key, rank };
        await list.select(rank, true);
      }, fail);
    },
    () => box.focus(),
  );

  /** A failure counts only while the person who met it is there. */
  function fail(error: unknown): void {
    if (session.api) report(error);
  }

  function typedPrefix(): Uint8Array {
    return bytesOf(prefix.value, isHex.checked ? "hex" : "text");
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
    const { api } = session;
    const turn = ++search;
    clearTimeout(typing);
    if (!keep) isAnother = true;
    if (!api) {
      none();
      total.textContent = "";
      return;
    }
    try {
      const found = await KeyRanks.of(new RemoteKeys(api), typedPrefix());
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
      if (turn !== search || session.api !== api) return;
      if (isAnother) none();
      total.classList.add("bad");
      const isForbidden = error instanceof ApiError && error.status === 403;
      total.textContent = isForbidden
        ? "This API key may not list these keys. Type a prefix that it may."
        : reasonOf(error);
    }
  }

  const typed = (): void => {
    clearTimeout(typing);
    wantAnother();
    typing = setTimeout(() => void find(false), SEARCH_MS);
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

  session.onChange(() => {
    prefix.value = "";
    isHex.checked = false;
    form.clear();
    void find(false);
  });

  /** Lists anew when keys have come or gone. */
  async function look(): Promise<void> {
    const { api } = session;
    if (!api || !ranks || document.hidden || box.offsetParent === null) return;
    const turn = search;
    try {
      const count = await new RemoteKeys(api).count({ prefix: typedPrefix() });
      if (turn === search && count !== ranks?.count) await find(true);
    } catch (error) {
      if (session.api === api) fail(error);
    }
  }
  const lookAgain = (afterMs: number): void => {
    setTimeout(() => {
      const startMs = performance.now();
      void look().finally(() => lookAgain(Math.max(LOOK_MS, LOOK_SHARE * (performance.now() - startMs))));
    }, afterMs);
  };
  lookAgain(LOOK_MS);

  return { refresh: () => void find(true) };
}
