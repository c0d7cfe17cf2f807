/**
 * Stores opened `readOnly` beside the writer: each shows a state that was proven when it was opened, or moved on, and goes on
 * showing that one, or says that it cannot (`SNAPSHOT_EXPIRED`). None writes anything.
 */
import type { BlockDevice, DeviceTarget } from "../../store/device.ts";
import { CairnError } from "../../store/error.ts";
import { contentsOf } from "./contents.ts";
import { encoded, expectOneOf, pickKey, turnOver } from "./drawing.ts";
import { openOver, type Store, simulatedHost } from "./host.ts";
import type { Random } from "./random.ts";
import type { Session } from "./session.ts";
import type { State } from "./timeline.ts";
import { Violation } from "./violation.ts";

const OPEN_MAX = 2;
/** A reader that cannot be read when it was just opened is moved on so often. */
const ATTEMPTS_MAX = 6;

/** A reader, the state that it must show, and the commit after which that was. */
export interface OpenReader {
  store: Store;
  state: State;
  count: number;
}

/** A device that is only read. */
class ReadOnlyDevice implements BlockDevice {
  readonly kind = "memory";
  readonly growable = false;
  readonly readAsync?: (pieces: readonly DeviceTarget[]) => Promise<void>;
  private readonly session: Session;

  constructor(session: Session) {
    this.session = session;
    const { device } = session;
    if (device.readAsync !== undefined)
      this.readAsync = (pieces) => session.device.readAsync?.(pieces) as Promise<void>;
  }

  size(): number {
    return this.session.device.size();
  }

  read(offset: number, target: Uint8Array): number {
    return this.session.device.read(offset, target);
  }

  readInto(offset: number, memory: Uint8Array, at: number, size: number): number {
    return this.session.device.readInto(offset, memory, at, size);
  }

  write(): never {
    return this.refuse("writes");
  }

  writeAsync(): never {
    return this.refuse("writes");
  }

  sync(): never {
    return this.refuse("syncs");
  }

  syncAsync(): never {
    return this.refuse("syncs");
  }

  close(): void {}

  /** The host makes an error code of what a device throws, so the run is told of it besides. */
  private refuse(what: string): never {
    const violation = new Violation(`a reader ${what}`);
    this.session.refusedLater(violation);
    throw violation;
  }
}

export const READER_OPERATIONS = {
  /** Opens a reader: it must show a state between what was proven before and what is written by then. */
  async openReader(session: Session, random: Random): Promise<void> {
    if (session.readers.length >= OPEN_MAX || session.issued === 0) return;
    const { proven, era } = session;
    await reading(session, async () => {
      const { pool, clock, plan } = session;
      const host = simulatedHost(clock, session.random, plan.options.shortTransfers, pool);
      const store = await openOver(new ReadOnlyDevice(session), host, clock, plan.options, { readOnly: true });
      const reader = await settled(session, store, proven, era);
      if (reader === undefined) return;
      session.readers.push(reader);
      session.coverage.readers++;
    });
    if (!session.poisoned) await turnOver(session, random);
  },

  /** Reads keys through an open reader. */
  async askReader(session: Session, random: Random): Promise<void> {
    const reader = session.readers[random.below(session.readers.length)];
    if (reader === undefined) return;
    await reading(session, async () => {
      // What the writer has written since may have taken the place of what is asked for.
      const changed = [...reader.state.keys()].filter((key) => reader.state.get(key) !== session.model.get(key));
      for (let n = random.between(1, 5); n > 0; n--) {
        const key = changed.length > 0 && random.chance(0.7) ? random.pick(changed) : pickKey(session, random);
        const value = reader.state.get(key);
        const mayExpire = (value?.expiresAt ?? Number.POSITIVE_INFINITY) <= session.highestMs;
        expectOneOf(key, mayExpire ? [value, undefined] : [value], reader.store.get(encoded(session, key)));
      }
      session.coverage.readerReads++;
    });
  },

  /** Moves a reader on: it never goes back. */
  async refreshReader(session: Session, random: Random): Promise<void> {
    const place = random.below(session.readers.length);
    const reader = session.readers[place];
    if (reader === undefined) return;
    const { proven, era } = session;
    await reading(session, async () => {
      await moveOn(session, reader.store);
      const moved = await settled(session, reader.store, Math.max(proven, reader.count), era);
      if (moved === undefined) return;
      if (moved.count > reader.count) session.coverage.readersMoved++;
      session.readers[place] = moved;
    });
  },

  async closeReader(session: Session, random: Random): Promise<void> {
    const [reader] = session.readers.splice(random.below(session.readers.length), 1);
    if (reader === undefined) return;
    await session.clock.wait(reader.store.close(), () => new Violation("a reader's close never ends"));
  },
};

/** What a reader shows, at last: as long as the writer is faster, it is moved on. Nothing when the writer dies meanwhile. */
async function settled(session: Session, store: Store, least: number, era: number): Promise<OpenReader | undefined> {
  for (let attempt = 1; era === session.era; attempt++) {
    try {
      return seen(session, store, least);
    } catch (error) {
      if (!(error instanceof CairnError) || error.code !== "SNAPSHOT_EXPIRED") throw error;
      if (attempt === ATTEMPTS_MAX) throw new Violation(`a reader expires ${attempt} times in a row`, { cause: error });
      await moveOn(session, store);
    }
  }
  return undefined;
}

function moveOn(session: Session, store: Store): Promise<void> {
  return session.clock.wait(store.refresh(), () => new Violation("refresh never ends"));
}

/** What a reader shows, which must be a state after commit `least` or a later one. */
function seen(session: Session, store: Store, least: number): OpenReader {
  const found = contentsOf(store, session.isSilent);
  const lowMs = session.clock.wallMs();
  const from = session.isSilent ? 0 : least;
  const times = { lowMs, highMs: Math.max(lowMs, session.highestMs) };
  const count = session.timeline.find(found, from, session.issued, times);
  if (count < 0) throw new Violation(`a reader: ${session.timeline.explain(found, from, session.issued)}`);
  const state = session.timeline.state(count);
  // What it does not show any more has expired, and stays so.
  for (const key of [...state.keys()]) if (!found.has(key)) state.delete(key);
  return { store, state, count };
}

/** Runs what reads beside the writer: what that may have made impossible is no violation. */
async function reading(session: Session, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof CairnError)) throw error;
    session.trace.add(`reader ${error.code}`);
    if (error.code === "SNAPSHOT_EXPIRED") session.coverage.readersExpired++;
    const isExpected = error.code === "SNAPSHOT_EXPIRED" || (error.code === "CORRUPT" && session.isSilent);
    if (!isExpected && !(error.code === "DEVICE_READ" && session.struck("read-error"))) {
      throw new Violation(`a reader: unexpected ${error.code}: ${error.message}`, { cause: error });
    }
  }
}
