/** One mutated image: opened, walked, proven, written to, opened again, repaired. */
import type { CairnErrorCode } from "../../store/error.ts";
import { repairDevice } from "../../store/repair/repair.ts";
import type { RepairReport } from "../../store/repair/report.ts";
import type { Store } from "../../store/store.ts";
import { blankImage } from "../simulation/pages.ts";
import type { Random } from "../simulation/random.ts";
import { SUPERBLOCKS } from "./blocks.ts";
import type { Canvas } from "./canvas.ts";
import { clockReset, LATER_MS, START_MS } from "./clock.ts";
import { FuzzDevice } from "./device.ts";
import { Finding, typed } from "./finding.ts";
import { type FuzzOptions, fuzzHost, type Memories, openOver } from "./host.ts";
import { type Answers, damagedBlocks, explain, name, type Vouchers } from "./oracle.ts";
import { faceOf, facesOf, type Held, SPACE, type State } from "./reference.ts";

const REPAIR_MEMORY_BYTES = 16 * 1_048_576;
const ADDED = "fuzz added";

/** What an image may answer with. */
const DAMAGED: readonly CairnErrorCode[] = ["CORRUPT"];
/** A block of a newer life than its segment's is what a reader takes for the work of a writer beside it. */
const FORGED: readonly CairnErrorCode[] = ["CORRUPT", "OUT_OF_MEMORY", "DEVICE_SHRUNK", "SNAPSHOT_EXPIRED"];
const FORGED_OPEN: readonly CairnErrorCode[] = [
  ...FORGED,
  "NOT_A_STORE",
  "UNSUPPORTED_FORMAT",
  "ENGINE_MISMATCH",
  "NO_SPACE",
  "FENCED",
];
const WRITE: readonly CairnErrorCode[] = ["CORRUPT", "NO_SPACE", "DEVICE_SHRUNK"];
const FORGED_WRITE: readonly CairnErrorCode[] = [...FORGED, "NO_SPACE", "FENCED", "STALE_TIMESTAMP"];
const REPAIR: readonly CairnErrorCode[] = ["CORRUPT", "NOT_A_STORE"];
const FORGED_REPAIR: readonly CairnErrorCode[] = [...FORGED_OPEN, "KEY_SIZE", "VALUE_SIZE"];

/** What is done with an image. */
export interface Steps {
  /** It is opened `readOnly`. */
  reads: boolean;
  /** It is opened, written to, closed and opened again. */
  writes: boolean;
  repairs: boolean;
}

/** What one look at all of a store gave. */
interface Look {
  answers: Answers;
  /** Whether anything could not be read. */
  hasErrors: boolean;
}

/** What came of an image, for counts. */
export interface Outcome {
  opened: boolean;
  refused: boolean;
  unreadable: boolean;
  repaired: boolean;
}

/** Checks images. */
export class Checker {
  private readonly module: WebAssembly.Module;
  private readonly memories: Memories;

  constructor(module: WebAssembly.Module, memories: Memories) {
    this.module = module;
    this.memories = memories;
  }

  /** Throws a finding when the image makes a store do what none may. */
  async check(canvas: Canvas, vouchers: Vouchers, steps: Steps, random: Random): Promise<Outcome> {
    const visit = new Visit(canvas, vouchers, this.module, this.memories, random);
    if (steps.reads) await visit.read();
    if (steps.writes) await visit.write();
    if (steps.repairs) await visit.repair();
    this.memories.takeBack();
    return visit.outcome;
  }
}

class Visit {
  readonly outcome: Outcome = { opened: false, refused: false, unreadable: false, repaired: false };
  private readonly canvas: Canvas;
  private readonly module: WebAssembly.Module;
  private readonly memories: Memories;
  private readonly random: Random;
  /** Whether what is read must be what was written. */
  private readonly isHonest: boolean;
  private readonly floor: number;
  private readonly damaged: Set<number>;

  constructor(canvas: Canvas, vouchers: Vouchers, module: WebAssembly.Module, memories: Memories, random: Random) {
    this.canvas = canvas;
    this.module = module;
    this.memories = memories;
    this.random = random;
    this.isHonest = !canvas.isSealed && !canvas.isForeign;
    this.damaged = this.isHonest ? damagedBlocks(canvas) : new Set();
    this.floor = this.isHonest ? vouchers.floor(this.damaged) : 0;
  }

  async read(): Promise<void> {
    clockReset(START_MS + LATER_MS);
    const device = this.device(true);
    const store = await this.open(device, "readOnly open", { readOnly: true });
    if (store === undefined) return;
    const look = this.look(store, "readOnly");
    this.explained(look, "readOnly");
    await this.verify(store, look, "readOnly");
    await this.close(store, "readOnly close");
    this.unviolated(device, "readOnly");
  }

  async write(): Promise<void> {
    clockReset(START_MS + LATER_MS);
    const device = this.device(false);
    const store = await this.open(device, "open", {});
    if (store === undefined) return;
    const look = this.look(store, "store");
    const state = this.explained(look, "store");
    const isSound = await this.verify(store, look, "store");
    const expected = await this.change(store, look, state);
    await this.close(store, "close");
    this.unviolated(device, "store");
    await this.again(device, expected, isSound);
  }

  async repair(): Promise<void> {
    clockReset(START_MS + LATER_MS);
    const { growable } = this.canvas.subject.reference;
    const source = new FuzzDevice(this.canvas.image(), { growable, readOnly: true });
    const output = new FuzzDevice(blankImage(0));
    const unproven = new FuzzDevice(blankImage(0));
    const keepExposed = this.random.chance(0.2);
    let report: RepairReport;
    try {
      report = await repairDevice(source, {
        host: this.host(),
        output: async () => output,
        unproven: async () => unproven,
        memoryBytes: REPAIR_MEMORY_BYTES,
        keepExposed,
      });
    } catch (error) {
      typed(error, "repair", this.isHonest ? REPAIR : FORGED_REPAIR);
      // What was forged may be copied, and refused then.
      if (this.isHonest && /does not read back/.test((error as Error).message)) throw new Finding(`repair: ${error}`);
      for (const device of [source, output, unproven]) this.unviolated(device, "repair");
      return;
    }
    this.outcome.repaired = true;
    for (const device of [source, output, unproven]) this.unviolated(device, "repair");
    const answers = await this.opened(output, report.keysRepaired, "repaired");
    if (report.keysUnproven > 0) {
      const apart = await this.opened(unproven, report.keysUnproven, "unproven");
      if (this.isHonest) this.onceWritten(apart, "unproven");
    }
    if (!this.isHonest) return;
    if (keepExposed) this.onceWritten(answers, "repaired with what is exposed");
    else explain(this.canvas.subject, answers, this.floor, "repaired", !report.complete);
  }

  private host() {
    return fuzzHost(this.module, this.random, this.memories);
  }

  private device(readOnly: boolean): FuzzDevice {
    return new FuzzDevice(this.canvas.image(), { growable: this.canvas.subject.reference.growable, readOnly });
  }

  private async open(device: FuzzDevice, where: string, options: FuzzOptions): Promise<Store | undefined> {
    try {
      const store = await openOver(device, this.host(), { ...this.canvas.subject.reference.options, ...options });
      this.outcome.opened = true;
      return store;
    } catch (error) {
      this.outcome.refused = true;
      const { code } = typed(error, where, this.isHonest ? this.refusals() : FORGED_OPEN);
      this.unviolated(device, where);
      if (this.isHonest && this.mustOpen()) throw new Finding(`${where}: ${code}, although a superblock is whole`);
      return undefined;
    }
  }

  /** What opening may refuse a damaged image with. */
  private refusals(): readonly CairnErrorCode[] {
    const { canvas } = this;
    const codes: CairnErrorCode[] = ["CORRUPT"];
    if (canvas.size < canvas.subject.reference.image.size) codes.push("DEVICE_SHRUNK");
    if (SUPERBLOCKS.every((copy) => this.damaged.has(copy))) codes.push("NOT_A_STORE", "DEVICE_SHRUNK");
    return codes;
  }

  /** Whether all that is damaged is copies of the superblock, and both of one of its two generations are whole. */
  private mustOpen(): boolean {
    for (const number of this.damaged) if (!SUPERBLOCKS.includes(number)) return false;
    const [a, b, c, d] = SUPERBLOCKS.map((copy) => !this.damaged.has(copy));
    return (a === true || b === true) && (c === true || d === true);
  }

  /** Reads everything: by a walk, and each key that ever was. */
  private look(store: Store, where: string): Look {
    const codes = this.isHonest ? DAMAGED : FORGED;
    const answers = new Map<string, Held | undefined | Error>();
    const walked = new Map<string, string>();
    let hasErrors = false;
    let walkFailed = false;
    const attempt = <T>(what: string, run: () => T): T | Error => {
      try {
        return run();
      } catch (error) {
        hasErrors = true;
        return typed(error, `${where} ${what}`, codes);
      }
    };
    const all = new Set(this.canvas.subject.reference.history.keys());
    for (const [prefix, face] of facesOf(store, all)) {
      const walk = attempt("walk", () => {
        for (const [key, value] of face.entries()) walked.set(prefix + key, value);
      });
      if (walk instanceof Error) walkFailed = true;
      const keys = attempt("keys", () => [...face.keys()]);
      const counted = attempt("count", () => face.count());
      attempt("walk backwards", () => [...face.entries({ reverse: true, limit: 3 })]);
      if (keys instanceof Error) continue;
      for (const key of keys) all.add(prefix + key);
      if (counted instanceof Error || counted === keys.length) continue;
      throw new Finding(`${where}: it counts ${counted} keys, and walks over ${keys.length}`);
    }
    for (const key of all) {
      if (!this.isHonest && isMangled(key)) continue;
      const answer = attempt("get", () => {
        const [face, rest] = faceOf(store, key);
        const entry = face.getEntry(rest);
        if (entry === undefined) return undefined;
        const { value, version, expiresAt, timestamp } = entry;
        return { value, version, expiresAt, timestamp };
      });
      answers.set(key, answer);
      if (walkFailed) continue;
      const value = answer === undefined || answer instanceof Error ? undefined : answer.value;
      if (walked.get(key) === value) continue;
      throw new Finding(`${where}: ${name(key)} is ${name(String(value))}, and walked over ${walked.get(key)}`);
    }
    if (hasErrors) this.outcome.unreadable = true;
    return { answers, hasErrors };
  }

  private explained(look: Look, where: string): State | undefined {
    if (!this.isHonest) return undefined;
    return explain(this.canvas.subject, look.answers, this.floor, where);
  }

  /** Whether `verify` finds nothing: then everything could be read. */
  private async verify(store: Store, look: Look, where: string): Promise<boolean> {
    try {
      const report = await store.verify();
      if (report.ok && look.hasErrors && !this.mayMislead())
        throw new Finding(`${where}: verify finds nothing, and reads fail`);
      return report.ok;
    } catch (error) {
      typed(error, `${where} verify`, this.isHonest ? [] : FORGED);
      return false;
    }
  }

  /** Whether the stored form of a compressed value makes sense, reading alone finds out: only forged ones do not. */
  private mayMislead(): boolean {
    return !this.isHonest && this.canvas.subject.reference.options.compression === "lz4";
  }

  /** Writes to a store, and compacts it: what it must hold then, where that can be told. */
  private async change(store: Store, look: Look, state: State | undefined): Promise<Map<string, string | undefined>> {
    const { random } = this;
    const codes = this.isHonest ? WRITE : FORGED_WRITE;
    const expected = new Map<string, string | undefined>();
    for (const [key, answer] of look.answers) {
      const held = answer instanceof Error ? state?.get(key) : answer;
      expected.set(key, held?.value);
    }
    const attempt = async (what: string, run: () => unknown, writes: Record<string, string | undefined>) => {
      try {
        await run();
        for (const [key, value] of Object.entries(writes)) expected.set(key, value);
        return true;
      } catch (error) {
        typed(error, what, codes);
        return false;
      }
    };
    const keys = [...look.answers.keys()].filter((key) => !key.startsWith(SPACE) && !isMangled(key));
    await attempt("set", () => store.set(ADDED, "1"), { [ADDED]: "1" });
    if (keys.length > 0) {
      const [a, b, c] = [random.pick(keys), random.pick(keys), random.pick(keys)];
      await attempt("delete", () => store.delete(a), { [a]: undefined });
      await attempt("set", () => store.set(b, "two"), { [b]: "two" });
      const writes = [
        { type: "set" as const, key: c, value: "three" },
        { type: "set" as const, key: `${ADDED} too`, value: "3".repeat(9000) },
      ];
      const batch = { [c]: "three", [`${ADDED} too`]: "3".repeat(9000) };
      await attempt("batch", () => store.batch(writes), batch);
    }
    await attempt("flush", () => store.flushSync(), {});
    if (random.chance(0.5)) await attempt("compact", () => store.compact({ full: true }), {});
    for (const key of [ADDED, ...keys.slice(0, 2)]) {
      await attempt(
        "get after a write",
        () => {
          const value = store.get(key);
          if (!this.isHonest || look.answers.get(key) instanceof Error || value === expected.get(key)) return;
          throw new Finding(`after a write: ${name(key)} is ${value}, and was written as ${expected.get(key)}`);
        },
        {},
      );
    }
    return expected;
  }

  private async close(store: Store, where: string): Promise<void> {
    try {
      await store.close();
    } catch (error) {
      typed(error, where, this.isHonest ? WRITE : FORGED_WRITE);
    }
  }

  /** Opens what was written to, and holds it against what it must hold. */
  private async again(device: FuzzDevice, expected: Map<string, string | undefined>, wasSound: boolean): Promise<void> {
    const image = device.image();
    const next = new FuzzDevice(image, { growable: device.growable, readOnly: true });
    let store: Store;
    try {
      store = await openOver(next, this.host(), { ...this.canvas.subject.reference.options, readOnly: true });
    } catch (error) {
      typed(error, "open again", this.isHonest ? [...DAMAGED, "DEVICE_SHRUNK"] : FORGED_OPEN);
      this.unviolated(next, "open again");
      if (wasSound && this.isHonest) throw new Finding(`open again: ${error}, and the store was sound before`);
      return;
    }
    const { answers } = this.look(store, "again");
    await this.close(store, "close again");
    this.unviolated(next, "again");
    if (!this.isHonest) return;
    for (const [key, value] of expected) {
      const answer = answers.has(key) ? answers.get(key) : undefined;
      if (answer instanceof Error || answer?.value === value) continue;
      throw new Finding(`again: ${name(key)} is ${name(String(answer?.value))}, not ${name(String(value))}`);
    }
  }

  /** What a repaired store holds: it must be sound, and as large as the report says. */
  private async opened(device: FuzzDevice, keys: number, where: string): Promise<Map<string, Held | undefined>> {
    const found = new Map<string, Held | undefined>();
    try {
      const store = await openOver(device, this.host(), { readOnly: true });
      for (const [prefix, face] of facesOf(store, this.canvas.subject.reference.history.keys())) {
        for (const key of face.keys()) {
          if (!this.isHonest && isMangled(key)) continue;
          const { value, version, expiresAt, timestamp } = face.getEntry(key) as Held;
          found.set(prefix + key, { value, version, expiresAt, timestamp });
        }
      }
      await store.close();
    } catch (error) {
      typed(error, where, this.mayMislead() ? DAMAGED : []);
    }
    if (this.isHonest) {
      // Expired records are repaired, and not shown.
      if (found.size > keys) throw new Finding(`${where}: ${found.size} keys, and ${keys} reported`);
      for (const key of this.canvas.subject.reference.history.keys()) {
        if (!found.has(key)) found.set(key, undefined);
      }
    }
    return found;
  }

  private onceWritten(answers: ReadonlyMap<string, Held | undefined>, where: string): void {
    for (const [key, held] of answers) {
      if (held === undefined || this.canvas.subject.reference.history.get(key)?.has(held.value) === true) continue;
      throw new Finding(`${where}: wrong value: ${name(key)} never was ${name(held.value)}`);
    }
  }

  private unviolated(device: FuzzDevice, where: string): void {
    if (device.violation !== undefined) throw new Finding(`${where}: ${device.violation}`);
  }
}

/** Whether a key, of a forged image, may be no text, so that what it was read as does not find it again. */
function isMangled(key: string): boolean {
  return /[^\x20-\x7e]/.test(key);
}
