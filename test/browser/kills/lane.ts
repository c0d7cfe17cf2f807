/** One store, opened, written to and killed over and over, and what has to be in it each time. */
import type { Page } from "puppeteer-core";
import { Random } from "../../store/random.ts";
import { operationOf } from "./operations.ts";
import { checkKept, checkPrefix, type State } from "./oracle.ts";
import type { Beginning } from "./page.ts";
import { Session, within } from "./session.ts";
import { isReady, type World } from "./world.ts";
import type { Found } from "./writer.ts";

/** What ends a session. */
export const KINDS = ["terminate", "killWorker", "close", "reload", "crash", "takeOver"] as const;
export type Kind = (typeof KINDS)[number];

/** Those that need no new page come up more often. */
const CHEAP_KINDS: readonly Kind[] = ["terminate", "terminate", "killWorker", "killWorker", "reload"];

/** What kills came to. */
export interface Tally {
  kills: Record<Kind | "browser", number>;
  /** Sessions that were ended while they were opening. */
  whileOpening: number;
  /** Operations that were issued and are not there: their kill came in the midst of commits. */
  lostCount: number;
  acknowledged: number;
  checks: number;
  /** Stores that were open when a browser was killed. */
  storesInBrowsers: number;
}

export function newTally(): Tally {
  const kills = { terminate: 0, killWorker: 0, close: 0, reload: 0, crash: 0, takeOver: 0, browser: 0 };
  return { kills, whileOpening: 0, lostCount: 0, acknowledged: 0, checks: 0, storesInBrowsers: 0 };
}

/** The keys of one writer: what is in the store of them, and what was begun since that was known. */
interface Written {
  name: string;
  base: State;
  /** No operation of this number or a later one was begun. */
  next: number;
  /** From where on a session has written, and that session. */
  open: { from: number; session: Session } | undefined;
}

/** Rounds after which a lane goes on with a new store. */
const ROUND_COUNT = 40;
/** Numbers of operations that a session may have used without having told. */
const UNTOLD_COUNT = 10_000;
const EARLY_CHANCE = 0.15;

/** See above. */
export class Lane {
  readonly violations: string[] = [];
  private readonly world: World;
  private readonly tally: Tally;
  private readonly random: Random;
  private readonly label: string;
  private seed: number;
  private store = 0;
  private roundCount = 0;
  private options: object = {};
  private writers: Written[] = [];
  private page: Page | undefined;
  /** Kinds that are to come before any comes again. */
  private kinds: Kind[] = [];

  constructor(world: World, tally: Tally, label: string, seed: number) {
    this.world = world;
    this.tally = tally;
    this.label = label;
    this.random = new Random(seed);
    this.seed = seed;
    this.takeNewStore();
  }

  /** Begins a session, which looks at what the one before has left, lets it write, and ends it at some moment. */
  async round(): Promise<void> {
    if (++this.roundCount % ROUND_COUNT === 0) await this.changeStore();
    const { random } = this;
    if (this.kinds.length === 0) this.kinds = [...KINDS, ...CHEAP_KINDS];
    const [kind] = this.kinds.splice(random.below(this.kinds.length), 1) as [Kind];
    const isEarly = random.chance(EARLY_CHANCE);
    const session = await this.begin("a", kind === "terminate" ? "worker" : "connection");
    if (isEarly && kind !== "takeOver") {
      this.tally.whileOpening++;
      await pause(random.below(80));
      await this.end(kind, session);
      if (kind !== "killWorker") return;
      // The next worker goes on with it.
      this.raise(await within(session.opened, "opening"));
      await session.leave();
      return;
    }
    await this.writing(session);
    if (kind === "takeOver") {
      await this.takeOver(session);
      return;
    }
    await pause(this.moment());
    await this.end(kind, session);
    if (kind !== "killWorker") return;
    // The page lives on, and so does what it wrote.
    for (let again = random.below(3); again > 0; again--) {
      await pause(this.moment());
      await this.end(kind, session);
    }
    await pause(random.below(50));
    this.kept(session, await session.stop());
    await session.leave();
  }

  /** Opens the store and writes, for a browser that is killed then. */
  async write(): Promise<void> {
    const session = await this.begin("a", this.random.chance(0.5) ? "worker" : "connection");
    if (this.random.chance(EARLY_CHANCE)) {
      this.tally.whileOpening++;
      return;
    }
    await this.writing(session);
    await pause(this.moment());
  }

  /** The browser was killed. */
  lost(): void {
    this.page = undefined;
    this.tally.storesInBrowsers++;
  }

  /** Looks a last time at what is there. */
  async finish(): Promise<void> {
    const session = await this.begin("a", "connection");
    this.raise(await within(session.opened, "opening"));
    await session.leave();
  }

  /** Two pages share the store; one is ended, and the other goes on and is ended, too. */
  private async takeOver(session: Session): Promise<void> {
    const { random } = this;
    const otherPage = await this.world.newPage(this.label);
    const other = this.session(otherPage, "b", "connection", false);
    await other.begin();
    await this.writing(other);
    await pause(this.moment());
    const how = random.pick(["close", "reload"] as const);
    await this.end(how, session);
    this.tally.kills[how]--;
    this.tally.kills.takeOver++;
    await pause(this.moment());
    const found = await other.stop();
    this.kept(other, found);
    // The worker of a page that was closed may go on for a moment, and what it had not answered would be refused. What was
    // found may have been done again, and would end with the page that did it.
    await other.own();
    const b = this.written("b");
    b.open = { from: b.next, session: other };
    await other.go(b.next);
    await pause(this.moment());
    this.tally.kills.close++;
    await otherPage.close();
  }

  /** Ends what holds the store. */
  private async end(kind: Kind, session: Session): Promise<void> {
    const { page } = session;
    this.tally.kills[kind]++;
    if (kind === "terminate" || kind === "killWorker") await session.endWorker();
    else if (kind === "reload") {
      await page.reload();
      await isReady(page);
    } else {
      this.page = undefined;
      if (kind === "crash") await crash(page);
      await page.close().catch(() => undefined);
    }
  }

  private async begin(writer: string, holder: Beginning["holder"]): Promise<Session> {
    this.page ??= await this.world.newPage(this.label);
    const session = this.session(this.page, writer, holder, true);
    await session.begin();
    return session;
  }

  /** `isSole`: nobody else has the store open, so all that is there can be known. */
  private session(page: Page, writer: string, holder: Beginning["holder"], isSole: boolean): Session {
    const order = { seed: this.seed, writer, inFlight: this.random.pick([1, 4, 16, 40]) };
    const name = `kills-${this.label}-${this.store}.cairn`;
    return this.world.register(
      (id) =>
        new Session(page, { session: id, holder, name, options: this.options, order }, (found) => {
          if (isSole) this.check(found);
        }),
    );
  }

  /** Waits until a session has opened, and lets it write. */
  private async writing(session: Session): Promise<void> {
    this.raise(await within(session.opened, "opening"));
    const written = this.written(session.beginning.order.writer);
    written.open = { from: written.next, session };
    await session.go(written.next);
  }

  /** What is there at the beginning of a session, when all who wrote have ended. */
  private check(found: Found): void {
    this.tally.checks++;
    this.whole(found);
    for (const written of this.writers) {
      const { name, base, open } = written;
      const now = stateOf(found, name);
      const operations = (index: number) => operationOf(this.seed, name, index);
      const acknowledged = [...(open?.session.acknowledged ?? [])];
      const durable = acknowledged.filter((index) => index >= (open?.from ?? 0) && operations(index).isDurable);
      const from = open?.from ?? written.next;
      const terms = { from, durable: Math.max(from - 1, ...durable), isOpen: open !== undefined };
      const verdict = checkPrefix(operations, base, terms, now);
      if ("violation" in verdict) this.violate(`writer ${name}: ${verdict.violation}`);
      else if (open !== undefined) {
        this.tally.lostCount += Math.max(0, open.session.issued - verdict.at);
        written.next = Math.max(verdict.at, open.session.issued) + UNTOLD_COUNT;
      }
      for (const [index, code] of open?.session.failed ?? []) {
        // What was under way when its page was closed may have been refused before.
        if (code !== "DEVICE_WRITE") this.violate(`writer ${name}: operation ${index} was refused with ${code}`);
      }
      this.tally.acknowledged += acknowledged.length;
      written.base = now;
      written.open = undefined;
    }
  }

  /** What is there of a writer that has lived on, and has stopped. */
  private kept(session: Session, found: Found): void {
    this.tally.checks++;
    this.whole(found);
    const written = this.written(session.beginning.order.writer);
    const { name, base, open } = written;
    if (open === undefined) throw new Error("nothing was written");
    const { acknowledged, issued, failed } = session;
    const now = stateOf(found, name);
    const violation = checkKept(
      (index) => operationOf(this.seed, name, index),
      base,
      { from: open.from, issued, acknowledged },
      now,
    );
    if (violation !== undefined) this.violate(`writer ${name}, which lived on: ${violation}`);
    for (const [index, code] of failed) {
      if (code !== "DEVICE_WRITE") this.violate(`writer ${name}: operation ${index} was refused with ${code}`);
    }
    this.tally.acknowledged += acknowledged.size;
    acknowledged.clear();
    failed.length = 0;
    written.base = now;
    written.next = issued + 1;
    written.open = undefined;
  }

  private whole({ wrong, faults }: Found): void {
    if (wrong.length > 0) this.violate(`bytes that nobody wrote: ${wrong.slice(0, 3).join("; ")}`);
    if (faults.length > 0) this.violate(`verify: ${faults.slice(0, 3).join("; ")}`);
  }

  private violate(what: string): void {
    this.violations.push(`store ${this.label}-${this.store}, round ${this.roundCount}: ${what}`);
  }

  private raise(error: string | undefined): void {
    if (error === undefined) return;
    this.violate(`opening: ${error}`);
    throw new Error(error);
  }

  private written(name: string): Written {
    return this.writers.find((one) => one.name === name) as Written;
  }

  private async changeStore(): Promise<void> {
    await this.finish();
    this.takeNewStore();
  }

  private takeNewStore(): void {
    const { random } = this;
    this.store++;
    this.seed = random.u32() >>> 1;
    this.options = {
      memoryBytes: 64 * 1024 * 1024,
      flushIntervalMs: random.pick([1, 10, 100, 1000]),
      compression: random.pick(["none", "lz4"]),
      writeBufferBytes: random.pick([1, 16]) * 1024 * 1024,
    };
    this.writers = ["a", "b"].map((name) => ({ name, base: new Map(), next: 0, open: undefined }));
  }

  /** How long it writes until it is ended, in milliseconds. */
  private moment(): number {
    return this.random.below(this.random.pick([6, 30, 150]));
  }
}

function stateOf({ entries }: Found, writer: string): State {
  return new Map(entries.filter(([key]) => key.startsWith(writer)));
}

/** Makes the process of a page crash. */
async function crash(page: Page): Promise<void> {
  const session = await page.createCDPSession();
  session.send("Page.crash").catch(() => undefined);
  await pause(100);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
