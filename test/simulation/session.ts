/**
 * One run: a store lives on a simulated device, does what the plan says, dies and is opened again, over and over. What a
 * crash could leave at any moment is put aside for the oracle.
 */
import { CairnError } from "../../store/error.ts";
import type { OpenBackup, TakenBackup } from "./backups.ts";
import { type CrashPoint, expectWholeCheckpoints } from "./check.ts";
import { drain, START_MS, VirtualClock } from "./clock.ts";
import { contentsOf } from "./contents.ts";
import { CRASH_MODES, type CrashMode } from "./crash.ts";
import { SimulatedDevice } from "./device.ts";
import { FaultSchedule } from "./faults.ts";
import { type InstancePool, openOver, type Store, simulatedHost } from "./host.ts";
import { Lifeline } from "./lifeline.ts";
import { blankImage, PAGE_SIZE } from "./pages.ts";
import { Random } from "./random.ts";
import type { OpenReader } from "./readers.ts";
import { apply, type Commit, type State, Timeline } from "./timeline.ts";
import type { Trace } from "./trace.ts";
import type { OpenTransaction } from "./transactions.ts";
import type { Value } from "./values.ts";
import { Violation } from "./violation.ts";
import type { Plan } from "./workload.ts";

const HALF_FORMATTED = ["CORRUPT", "NOT_A_STORE"];
const OPEN_ATTEMPTS = 6;

/** A walk that stays open while other operations run, and what it must give. */
export interface OpenWalk {
  iterator: Iterator<unknown>;
  expected: readonly [string, Value][];
  position: number;
}

/** A snapshot that stays open, and what it must show. */
export interface OpenSnapshot {
  view: ReturnType<Store["snapshot"]>;
  state: State;
}

/** What happened in a run: a kind of crash that no run ever meets proves nothing. */
export interface Coverage {
  commits: number;
  lives: number;
  acknowledged: number;
  freedSegments: number;
  relocatedBytes: number;
  recoveredTails: number;
  refusedForSpace: number;
  poisoned: number;
  walksOverWrites: number;
  closes: number;
  snapshotReads: number;
  transactions: number;
  conflicts: number;
  expired: number;
  checkpoints: number;
  cuts: number;
  takeOvers: number;
  readers: number;
  readerReads: number;
  readersMoved: number;
  readersExpired: number;
  backups: number;
}

/** See the head of this file. */
export class Session {
  readonly plan: Plan;
  readonly clock = new VirtualClock();
  readonly trace: Trace;
  device: SimulatedDevice;
  store!: Store;
  timeline = new Timeline();
  acked = 0;
  issued = 0;
  /** What the store shows. */
  model: State = new Map();
  pending: Promise<unknown>[] = [];
  walks: OpenWalk[] = [];
  snapshots: OpenSnapshot[] = [];
  transaction: OpenTransaction | undefined;
  readers: OpenReader[] = [];
  backup: OpenBackup | undefined;
  readonly backups: TakenBackup[] = [];
  /** The commit that a later one, which is durable, proves: a reader shows no state before it. */
  proven = 0;
  /** The highest time that the clock has ever shown, in milliseconds since 1970. */
  highestMs = START_MS;
  /** A time that the store has seen; and one that a commit which was acknowledged has taken to the device. */
  seenMs = 0;
  durableMs = 0;
  /** Whether the store takes no calls any more. */
  poisoned = false;
  /** Whether a device without room has refused something in this life. */
  wasFull = false;
  /** Whether the last write threw. */
  wasRefused = false;
  /** Whether the device has lied so that nothing more can be said: the run ends. */
  lost = false;
  /** Whether the store is being closed, so that what is under way may end in that. */
  isClosing = false;
  life = 0;
  /** Changes whenever a store dies, or another one takes its place: what it still says then is not heard. */
  era = 0;
  serialNext = 1;
  readonly points: CrashPoint[] = [];
  readonly coverage: Coverage = {
    commits: 0,
    lives: 0,
    acknowledged: 0,
    freedSegments: 0,
    relocatedBytes: 0,
    recoveredTails: 0,
    refusedForSpace: 0,
    poisoned: 0,
    walksOverWrites: 0,
    closes: 0,
    snapshotReads: 0,
    transactions: 0,
    conflicts: 0,
    expired: 0,
    checkpoints: 0,
    cuts: 0,
    takeOvers: 0,
    readers: 0,
    readerReads: 0,
    readersMoved: 0,
    readersExpired: 0,
    backups: 0,
  };
  private line: Lifeline | undefined;
  /** Those of all stores that are not dead: one that was taken over from lives on for a while. */
  private lines: Lifeline[] = [];
  readonly pool: InstancePool;
  readonly random: Random;
  /** What `seenMs` was when a commit was announced, by its number. */
  private readonly seenAtMs: number[] = [];
  /** What `acked` was then. */
  private readonly ackedAt: number[] = [];
  private readonly captureShare: number;
  private readonly pointsMax: number;
  private failure: unknown;
  private hasLied = false;
  /** The highest version that a write was given. */
  private versionHighest = 0;

  constructor(plan: Plan, trace: Trace, dense: boolean, pool: InstancePool) {
    this.plan = plan;
    this.pool = pool;
    this.trace = trace;
    this.random = new Random(plan.seed).fork(5);
    this.captureShare = dense ? 1 : this.random.pick([0.3, 0.6, 1]);
    this.pointsMax = dense ? 2000 : 150;
    const image = blankImage(plan.options.deviceSize);
    this.device = new SimulatedDevice(plan.options.device, image, this.clock, this.random.fork(1), trace);
    this.device.onChange = () => this.capture();
  }

  /** Opens the store: what it recovered must be a state that it had, and from then on it is the one that counts. */
  async open(takesOver = false): Promise<void> {
    this.clock.install();
    if (this.isSilent) this.trace.add("not trusted");
    this.device.faults = new FaultSchedule(this.plan.faults, this.life);
    for (let attempt = 1; ; attempt++) {
      try {
        const { shortTransfers } = this.plan.options;
        const host = simulatedHost(this.clock, this.random, shortTransfers, this.pool);
        this.line = new Lifeline(this.device);
        this.lines.push(this.line);
        const predecessorAlive = takesOver && attempt === 1;
        this.store = await openOver(this.line, host, this.clock, this.plan.options, { predecessorAlive });
        this.recovered();
        return;
      } catch (error) {
        if (!(error instanceof CairnError) || attempt === OPEN_ATTEMPTS) throw error;
        this.trace.add(`open ${error.code}`);
        if (this.issued === 0 && HALF_FORMATTED.includes(error.code)) {
          this.device.restart(blankImage(this.plan.options.deviceSize));
        } else if (this.isSilent && (error.code === "CORRUPT" || error.code === "NOT_A_STORE")) {
          this.lost = true;
          return;
        } else {
          this.checkRefusal(error, true);
          await this.cutPower(this.random.pick(CRASH_MODES));
          // A file system that was full has room again.
          if (error.code === "NO_SPACE") this.device.enlarge();
          this.hasLied = this.isSilent;
          this.device.faults = undefined;
        }
      }
    }
  }

  /** The power goes: the device keeps what it likes. */
  async cutPower(mode: CrashMode): Promise<void> {
    this.trace.add(`cut ${mode}`);
    this.tally();
    this.put(mode);
    await this.endLines();
    this.device.restart(this.device.crashed(mode, this.random));
    this.clock.clear();
  }

  /** The process is killed: what was written stays in the system's cache, though a sync of it may have failed. */
  async kill(): Promise<void> {
    this.trace.add("kill");
    this.tally();
    this.put(this.random.pick(CRASH_MODES));
    await this.endLines();
    this.device.orphan(this.random);
    this.clock.clear();
  }

  /** Ends this life of the store, and begins the next one. */
  async revive(takesOver = false): Promise<void> {
    this.walks = [];
    this.snapshots = [];
    this.transaction = undefined;
    this.readers = [];
    this.backup = undefined;
    this.pending = [];
    this.isClosing = false;
    this.life++;
    this.era++;
    this.coverage.lives++;
    await this.open(takesOver);
  }

  /** Opens a device that is smaller than it was: that must be refused, and nothing may be written. */
  async openCutShort(bytes: number): Promise<void> {
    const image = this.device.shown();
    this.device.restart({ pages: image.pages.slice(0, (image.size - bytes) / PAGE_SIZE), size: image.size - bytes });
    const { onChange } = this.device;
    let isWritten = false;
    this.device.onChange = () => {
      isWritten = true;
    };
    this.device.faults = undefined;
    this.clock.install();
    const host = simulatedHost(this.clock, this.random, false, this.pool);
    let code = "";
    try {
      await openOver(this.device, host, this.clock, this.plan.options);
    } catch (error) {
      code = error instanceof CairnError ? error.code : `${error}`;
    }
    if (code !== "DEVICE_SHRUNK") throw new Violation(`a device that was cut short gives ${code || "no error"}`);
    if (isWritten) throw new Violation("a device that was cut short was written to");
    this.device.onChange = onChange;
    this.device.restart(image);
  }

  /** A commit is about to be tried: its number. It is settled by `settleCommit`, with nothing else in between. */
  announce(commit: Commit): number {
    this.issued = this.timeline.add(commit);
    this.seenAtMs[this.issued] = this.seenMs;
    this.ackedAt[this.issued] = this.acked;
    return this.issued;
  }

  /** The commit that was announced was done, or never was. Whether it was. */
  settleCommit(commit: Commit, isDone: boolean): boolean {
    if (isDone) {
      this.coverage.commits++;
      apply(this.model, commit);
      this.versionHighest = Math.max(this.versionHighest, this.store.version);
    } else {
      this.timeline.pop();
      this.issued = this.timeline.end;
    }
    return isDone;
  }

  /** Does a write. `commit` is what it changes; when nothing was changed, it never was. Whether something was. */
  write(commit: Commit, call: () => void, promised = false): boolean {
    const before = this.store.version;
    this.announce(commit);
    let refused: unknown;
    try {
      call();
    } catch (error) {
      refused = error;
    }
    this.wasRefused = refused !== undefined;
    const owes = this.changes(commit);
    const isDone = this.settleCommit(commit, this.store.version !== before);
    if (refused !== undefined) this.refused(refused);
    else if (!promised && !isDone && owes) throw new Violation("a write that was not refused changed nothing");
    return isDone;
  }

  /** A write that gives a promise: `check` gets what it resolves with. */
  writeLater<T>(commit: Commit, call: () => Promise<T>, check: (answer: T) => void): void {
    let promise: Promise<T> | undefined;
    const changed = this.write(
      commit,
      () => {
        promise = call();
        promise.catch(() => undefined);
      },
      true,
    );
    const owes = !changed && this.changes(commit);
    const number = this.issued;
    if (promise === undefined) return;
    this.expect(promise, (answer) => {
      if (owes) throw new Violation("a write that was not refused changed nothing");
      check(answer);
      this.acknowledge(number);
    });
  }

  /** Everything up to a commit is durable, says the store. */
  acknowledge(count: number): void {
    if (count <= this.acked) return;
    this.acked = count;
    this.durableMs = Math.max(this.durableMs, this.seenAtMs[count] ?? 0);
    this.proven = Math.max(this.proven, this.ackedAt[count] ?? 0);
    this.coverage.acknowledged++;
    this.trace.add("acknowledged", count);
  }

  /** Watches a promise of the store: `settled` when it resolves; a rejection must be one that was to be expected. */
  expect<T>(promise: Promise<T>, settled: (value: T) => void): void {
    const { era } = this;
    const watch = promise.then(
      (value) => {
        if (era === this.era) this.guard(() => settled(value));
      },
      (error) => {
        if (era === this.era) this.guard(() => this.refused(error));
      },
    );
    this.pending.push(watch);
  }

  /** Waits for every promise that is not settled. */
  async settle(): Promise<void> {
    const { pending } = this;
    this.pending = [];
    await this.clock.wait(Promise.all(pending), () => new Violation("a promise never settles"));
    this.rethrow();
  }

  /** The store refused a call. Throws a `Violation` unless something was done to it that explains it. */
  refused(error: unknown): void {
    if (!(error instanceof CairnError)) throw error;
    this.trace.add(error.code);
    this.checkRefusal(error, false);
    if (error.code === "NO_SPACE") {
      this.wasFull = true;
      this.coverage.refusedForSpace++;
    }
  }

  /** `refused` of a promise that nobody waits for. */
  refusedLater(error: unknown): void {
    this.guard(() => this.refused(error));
  }

  /** What a read that began after commit `from` may give by now. */
  mayHold(timeline: Timeline, key: string, from: number): (Value | undefined)[] {
    const values = timeline.valuesOf(key, from, this.issued);
    const mayExpire = values.some((value) => (value?.expiresAt ?? Number.POSITIVE_INFINITY) <= this.highestMs);
    return mayExpire ? [...values, undefined] : values;
  }

  /** Throws what went wrong in a callback. */
  rethrow(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  /** Whether the device has ever lied. */
  get isSilent(): boolean {
    this.hasLied ||= this.device.faults?.isSilent ?? false;
    return this.hasLied;
  }

  /** Whether the device may say that it is full. */
  get mayBeFull(): boolean {
    const { growable, capacity } = this.plan.options.device;
    return !growable || capacity < 64 * 1_048_576 || this.struck("no-space");
  }

  /** Whether a store that was taken over from still reaches the device. */
  get hasOlder(): boolean {
    return this.lines.length > 1;
  }

  /** The number of a new value. */
  serial(): number {
    return this.serialNext++;
  }

  /** No store reaches the device any more. What waits for promises alone runs now, and not in the next life. */
  private async endLines(): Promise<void> {
    this.era++;
    for (const line of this.lines.splice(0)) line.end();
    await drain();
  }

  private guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.failure ??= error;
    }
  }

  struck(kind: "no-space" | "write-error" | "sync-error" | "read-error"): boolean {
    return this.device.faults?.struck.has(kind) ?? false;
  }

  private checkRefusal(error: CairnError, opening: boolean): void {
    const { code } = error;
    const broken = this.struck("write-error") || this.struck("sync-error");
    const isExpected =
      (code === "NO_SPACE" && (this.mayBeFull || (opening && this.plan.options.device.growable))) ||
      (code === "DEVICE_WRITE" && broken) ||
      (code === "DEVICE_READ" && this.struck("read-error")) ||
      (code === "CORRUPT" && this.isSilent) ||
      // A claim that the device wrote elsewhere is not there when it is looked for: as if somebody had written over it.
      (code === "FENCED" && this.isSilent) ||
      // A compaction that a close overtakes finds a core that takes no calls.
      ((code === "CLOSED" || code === "POISONED") && this.isClosing) ||
      (code === "POISONED" && (broken || this.struck("read-error") || this.isSilent));
    if (!isExpected) throw new Violation(`unexpected ${code}: ${error.message}`, { cause: error });
    if (opening || this.poisoned || code === "NO_SPACE" || code === "CORRUPT") return;
    try {
      this.store.has("x" as string);
    } catch {
      this.poisoned = true;
      this.coverage.poisoned++;
    }
  }

  private recovered(): void {
    this.poisoned = false;
    this.wasFull = false;
    // What a life has seen and not made durable the next one does not know.
    this.seenMs = this.durableMs;
    const found = contentsOf(this.store, this.isSilent);
    const least = this.isSilent ? 0 : this.acked;
    const nowMs = this.clock.wallMs();
    const lowMs = this.isSilent ? nowMs : Math.max(nowMs, this.durableMs);
    const count = this.timeline.find(found, least, this.issued, { lowMs, highMs: Math.max(nowMs, this.highestMs) });
    if (count < 0) throw new Violation(this.timeline.explain(found, least, this.issued));
    this.timeline = this.timeline.from(count);
    this.model = this.timeline.state(count);
    for (const key of [...this.model.keys()]) {
      if (found.has(key)) continue;
      this.model.delete(key);
      this.coverage.expired++;
    }
    // One that the device refuses to read gives way to the older one.
    if (!this.isSilent && !this.struck("read-error")) expectWholeCheckpoints(this.store.stats());
    const { version } = this.store;
    if (version < this.versionHighest && !this.isSilent) {
      throw new Violation(`versions go on at ${version}, and ${this.versionHighest} was given out before`);
    }
    this.acked = count;
    this.issued = count;
    this.proven = 0;
    if (this.store.stats().recoveredTailBlockCount > 0) this.coverage.recoveredTails++;
    this.trace.add("recovered", count);
  }

  /** Counts what this life did, before it ends. */
  tally(): void {
    if (this.poisoned || this.line === undefined) return;
    try {
      const { freedSegmentCount, relocatedBytes } = this.store.stats();
      this.coverage.checkpoints += this.store.stats().checkpointMadeCount;
      this.coverage.cuts = this.device.cutCount;
      this.coverage.freedSegments += freedSegmentCount;
      this.coverage.relocatedBytes += relocatedBytes;
    } catch {
      // One that could not be opened did nothing.
    }
  }

  private changes(commit: Commit): boolean {
    for (const [key, value] of commit) if (value !== undefined || this.model.has(key)) return true;
    return false;
  }

  private capture(): void {
    if (this.points.length >= this.pointsMax || !this.random.chance(this.captureShare)) return;
    this.put(this.random.pick(CRASH_MODES));
  }

  private put(mode: CrashMode): void {
    const { timeline, acked, issued, life, isSilent, highestMs, durableMs } = this;
    const { skewMs } = this.clock;
    const image = this.device.crashed(mode, this.random);
    const known = { timeline, acked, issued, isSilent, skewMs, highestMs, durableMs };
    this.points.push({ image, ...known, life, serial: this.points.length, depth: 0 });
  }
}
