/**
 * A list box of any length that holds no more rows than fit its window, and fetches them in pages.
 *
 * Browsers limit how tall an element may be (Firefox to about 17 million pixels), so a very long list scrolls in a
 * smaller space: short scrolls move row by row, long ones in proportion, and the two are matched when scrolling rests.
 */
import { arrange } from "./elements.ts";

const ROW_HEIGHT = 26;
const HEIGHT_MAX = 8_000_000;
const PAGE_COUNT = 100;
const PAGES_KEPT_MAX = 60;
const REST_MS = 150;
/** Keys that do something here. */
const KEYS = ["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "Enter", "Delete"];

/** Where rows come from and what happens to them. */
export interface ListSource<T> {
  /** The items from an index on, at most `count`. */
  fetch(first: number, count: number): Promise<T[]>;
  /** Puts an item into its row. */
  render(row: HTMLElement, item: T): void;
  /** An item was chosen, by key or pointer. `done` when it is to be edited. */
  choose(item: T, index: number, done: boolean): void;
  /** The Delete key was pressed on an item. */
  remove(item: T, index: number): void;
  /** Fetching failed. */
  fail(error: unknown): void;
}

/** A list box over a scrolling element with the role listbox. */
export class VirtualList<T> {
  /** Index of the chosen item, -1 when none is. */
  chosen = -1;
  /** How often something was chosen: the last choice counts. */
  choices = 0;
  private readonly box: HTMLElement;
  private readonly source: ListSource<T>;
  private readonly rows = document.createElement("div");
  private readonly space = document.createElement("div");
  private readonly pages = new Map<number, T[]>();
  /** The rows that are drawn, by the index of their item. */
  private drawn = new Map<number, HTMLElement>();
  private count = 0;
  /** First visible item, with the fraction of it that is scrolled away. */
  private top = 0;
  private scrolledTo = 0;
  private fetching = false;
  /** Pages that are being fetched, for whoever else wants one of them. */
  private readonly loading = new Map<number, Promise<boolean>>();
  /** Pages fetched under another generation are dropped. */
  private generation = 0;
  private rest: ReturnType<typeof setTimeout> | undefined;
  /** Keys for the list that is to come. */
  private held: string[] | undefined;

  constructor(box: HTMLElement, source: ListSource<T>) {
    this.box = box;
    this.source = source;
    this.rows.className = "rows";
    this.rows.role = "presentation";
    this.space.role = "presentation";
    box.replaceChildren(this.rows, this.space);
    box.addEventListener("scroll", () => this.scrolled());
    box.addEventListener("keydown", (event) => this.pressed(event));
    box.addEventListener("click", (event) => this.clicked(event, false));
    box.addEventListener("dblclick", (event) => this.clicked(event, true));
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /** Shows `count` items from the first one on, none of them chosen. */
  reset(count: number): void {
    this.renew(count);
    this.chosen = -1;
    this.moveTo(0);
    this.release();
  }

  /** Another list is about to be shown: keys that are pressed from now on are for that one, which `reset` brings. */
  hold(): void {
    this.held = [];
  }

  /** No other list comes: what was held is for the one that is shown. */
  release(): void {
    const keys = this.held ?? [];
    this.held = undefined;
    for (const key of keys) this.press(key);
  }

  /** Shows `count` items anew, where what was seen before lies `shift` further on. Place and choice move with it. */
  refresh(count: number, shift: number): void {
    this.scrolled();
    this.renew(count);
    if (this.chosen >= 0) this.chosen = Math.max(0, Math.min(this.chosen + shift, count - 1));
    if (count === 0) this.chosen = -1;
    // At its very top, the list stays there and shows what is new.
    this.moveTo(this.top === 0 ? 0 : this.top + shift);
  }

  /** Chooses an item and brings it into view. It is reported when it has been fetched, unless `quietly`. */
  async select(index: number, quietly = false): Promise<void> {
    if (this.count === 0) return;
    this.chosen = Math.max(0, Math.min(index, this.count - 1));
    const visible = this.visibleCount();
    if (this.chosen < this.top) this.moveTo(this.chosen);
    else if (this.chosen > this.top + visible - 1) this.moveTo(this.chosen - visible + 1);
    else this.draw();
    const turn = ++this.choices;
    if (quietly) return;
    for (;;) {
      const { generation, chosen } = this;
      const item = await this.item(chosen);
      if (turn !== this.choices || this.chosen < 0) return;
      // The list was made anew meanwhile, and what was chosen may have another index.
      if (generation !== this.generation) continue;
      if (item !== undefined) this.source.choose(item, chosen, false);
      return;
    }
  }

  /** A choice that is still being fetched is not reported any more, and keys that were held choose nothing. */
  dropChoice(): void {
    this.choices++;
    if (this.held) this.held = [];
  }

  /** Does what a key does here, or holds it: whether it is for the list. */
  press(key: string): boolean {
    if (!KEYS.includes(key)) return false;
    if (this.held) {
      this.held.push(key);
      return true;
    }
    const pageSize = Math.max(1, Math.floor(this.visibleCount()) - 1);
    const steps: Record<string, number> = {
      ArrowDown: this.chosen + 1,
      ArrowUp: Math.max(0, this.chosen - 1),
      PageDown: Math.max(0, this.chosen) + pageSize,
      PageUp: this.chosen - pageSize,
      Home: 0,
      End: this.count - 1,
    };
    const to = steps[key];
    if (to !== undefined) void this.select(to);
    else if (this.chosen < 0) return false;
    else void this.act(this.chosen, key === "Enter" ? "edit" : "remove");
    return true;
  }

  private renew(count: number): void {
    this.generation++;
    this.pages.clear();
    this.loading.clear();
    this.fetching = false;
    this.count = count;
    this.box.classList.toggle("none", count === 0);
    this.space.style.height = `${Math.min(count * ROW_HEIGHT, HEIGHT_MAX)}px`;
  }

  private visibleCount(): number {
    return Math.max(1, this.box.clientHeight / ROW_HEIGHT);
  }

  private topMax(): number {
    return Math.max(0, this.count - this.visibleCount());
  }

  /** Scrolls to an item and matches the scroll bar. */
  private moveTo(top: number): void {
    this.top = Math.max(0, Math.min(top, this.topMax()));
    const scrollMax = Math.max(0, this.space.offsetHeight - this.box.clientHeight);
    const topMax = this.topMax();
    this.scrolledTo = topMax === 0 ? 0 : Math.round((this.top / topMax) * scrollMax);
    this.box.scrollTop = this.scrolledTo;
    // The browser may have rounded or clamped it.
    this.scrolledTo = this.box.scrollTop;
    this.draw();
  }

  /** Takes in where the box was scrolled to, which its event may not have told yet. */
  private scrolled(): void {
    const { box } = this;
    const moved = box.scrollTop - this.scrolledTo;
    if (moved === 0) return;
    this.scrolledTo = box.scrollTop;
    const scrollMax = Math.max(1, this.space.offsetHeight - box.clientHeight);
    const isShort = Math.abs(moved) < 3 * box.clientHeight;
    const isEnd = box.scrollTop <= 0 || box.scrollTop >= scrollMax;
    const top = isShort && !isEnd ? this.top + moved / ROW_HEIGHT : (box.scrollTop / scrollMax) * this.topMax();
    this.top = Math.max(0, Math.min(top, this.topMax()));
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      this.scrolled();
      this.moveTo(this.top);
    }, REST_MS);
    this.draw();
  }

  private draw(): void {
    const first = Math.floor(this.top);
    const size = Math.min(Math.ceil(this.visibleCount()) + 1, this.count - first);
    const drawn = new Map<number, HTMLElement>();
    for (let index = first; index < first + size; index++) {
      const row = this.drawn.get(index) ?? this.newRow(index);
      drawn.set(index, row);
      row.ariaSetSize = String(this.count);
      row.ariaSelected = String(index === this.chosen);
      row.style.top = `${(index - this.top) * ROW_HEIGHT}px`;
      const item = this.pages.get(Math.floor(index / PAGE_COUNT))?.[index % PAGE_COUNT];
      row.className = item === undefined ? "loading" : "";
      if (item === undefined) row.textContent = "…";
      else this.source.render(row, item);
    }
    this.drawn = drawn;
    arrange(this.rows, [...drawn.values()]);
    const isVisible = this.chosen >= first && this.chosen < first + size;
    if (isVisible) this.box.setAttribute("aria-activedescendant", `${this.box.id}-${this.chosen}`);
    else this.box.removeAttribute("aria-activedescendant");
    void this.fetchVisible();
  }

  private newRow(index: number): HTMLElement {
    const row = document.createElement("div");
    row.role = "option";
    row.id = `${this.box.id}-${index}`;
    row.dataset["index"] = String(index);
    row.ariaPosInSet = String(index + 1);
    row.style.height = `${ROW_HEIGHT}px`;
    row.style.lineHeight = `${ROW_HEIGHT}px`;
    return row;
  }

  /** Fetches what is visible and missing, a page at a time; a fast scroll skips what it has left behind. */
  private async fetchVisible(): Promise<void> {
    if (this.fetching || this.count === 0) return;
    const firstPage = Math.floor(this.top / PAGE_COUNT);
    const lastPage = Math.floor(Math.min(this.top + this.visibleCount(), this.count - 1) / PAGE_COUNT);
    for (let page = firstPage; page <= lastPage; page++) {
      if (this.pages.has(page)) continue;
      const { generation } = this;
      this.fetching = true;
      const isThere = await this.load(page);
      if (generation !== this.generation) return;
      this.fetching = false;
      if (isThere) this.draw();
      return;
    }
  }

  /** Whether the page is there now; a failure has been reported. */
  private load(page: number): Promise<boolean> {
    let loaded = this.loading.get(page);
    if (loaded === undefined) {
      loaded = this.loadNow(page).finally(() => {
        if (this.loading.get(page) === loaded) this.loading.delete(page);
      });
      this.loading.set(page, loaded);
    }
    return loaded;
  }

  private async loadNow(page: number): Promise<boolean> {
    const { generation } = this;
    try {
      const items = await this.source.fetch(page * PAGE_COUNT, PAGE_COUNT);
      if (generation !== this.generation) return false;
      this.pages.delete(page);
      this.pages.set(page, items);
      const oldest = this.pages.keys().next().value;
      if (this.pages.size > PAGES_KEPT_MAX && oldest !== undefined) this.pages.delete(oldest);
      return true;
    } catch (error) {
      if (generation === this.generation) this.source.fail(error);
      return false;
    }
  }

  private async item(index: number): Promise<T | undefined> {
    const page = Math.floor(index / PAGE_COUNT);
    if (!this.pages.has(page)) await this.load(page);
    return this.pages.get(page)?.[index % PAGE_COUNT];
  }

  private clicked(event: MouseEvent, done: boolean): void {
    const row = (event.target as HTMLElement).closest<HTMLElement>("[role=option]");
    if (!row) return;
    this.dropChoice();
    void this.act(Number(row.dataset["index"]), done ? "edit" : "choose");
  }

  private pressed(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (this.press(event.key)) event.preventDefault();
  }

  private async act(index: number, what: "choose" | "edit" | "remove"): Promise<void> {
    if (what === "choose") return this.select(index);
    const turn = ++this.choices;
    const item = await this.item(index);
    if (item === undefined || turn !== this.choices) return;
    if (what === "remove") this.source.remove(item, index);
    else this.source.choose(item, index, true);
  }
}
