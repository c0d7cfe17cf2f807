/**
 * A client's talk with whoever owns its store: calls that wait, calls that were sent, and writes that are not durable yet.
 *
 * 1. A call is sent once, but for reads: one that was sent and not answered when its owner was lost is asked again.
 * 2. A write that was sent and not answered then may have happened or not: it is refused, with an error that says so.
 * 3. A write that was answered but was not durable is kept until it is. The next owner says which version came back;
 *    what is newer is lost with certainty (lost writes are a suffix), and is sent again, before anything else.
 */
import { CairnError } from "../error.ts";
import { Queue } from "./queue.ts";
import { callSize, type Window } from "./window.ts";
import {
  type AnswersMessage,
  type CallsMessage,
  fromWireError,
  type OwnerMessage,
  type ProgressMessage,
  USE,
  type WireCall,
  type WireFace,
  WRITES,
} from "./wire.ts";

/** Sends calls to the owner. */
export type Send = (message: CallsMessage, transfer: ArrayBuffer[]) => void;

/** Told how far a call is. */
export type OnProgress = (progress: ProgressMessage["progress"]) => void;

/** What goes with a call. */
interface Extras {
  /** What it is done on; `undefined`: the store itself. One with an owner means nothing to another one. */
  face?: WireFace | undefined;
  /** Buffers that may be handed over: nobody looks at them again. */
  transfer?: ArrayBuffer[] | undefined;
  onProgress?: OnProgress | undefined;
}

interface Call extends Extras {
  /** Bytes, about, where there is a window. */
  size?: number;
  name: WireCall;
  args: unknown[];
  /** The owner that it is for, where it means nothing to another one. */
  owner: string | undefined;
  /** Whether it was answered in an earlier life of the store, which lost it. */
  isAgain?: boolean;
  resolve(value: unknown): void;
  reject(reason: unknown): void;
}

/** Where a watch is: all changes up to a version were given. */
export interface Place {
  version: number;
}

interface KeptWrite {
  version: number;
  name: WireCall;
  args: unknown[];
  face: WireFace | undefined;
}

/** Turns of the microtask queue that a message waits for more calls. */
const COMPANY_TURNS = 3;
/** Calls that mean nothing to another owner, since a snapshot, a watch or a backup ends with the one that it was asked of. */
const BOUND: ReadonlySet<WireCall> = new Set<WireCall>([
  "next",
  "end",
  "release",
  "changes",
  "unwatch",
  "backupPart",
  "backupEnd",
]);
/** No owner's name: a call that none can do any more. */
const NOBODY = "";

/** The calls of one connection. */
export class Conversation {
  private readonly waiting = new Queue<Call>();
  private sent = new Map<number, Call>();
  private kept: KeptWrite[] = [];
  /** Of the present owner's watches. */
  private readonly places = new Map<number, Place>();
  private durableVersion = 0;
  private owner: string | undefined;
  /** The opening of the store that the last owner had it from. */
  private life: string | undefined;
  private send: Send | undefined;
  private window: Window | undefined;
  /** Bytes of calls that are unanswered. */
  private sentSize = 0;
  private scheduled = false;
  private idNext = 1;
  private ended = false;
  private ending: CairnError | undefined;
  private refused = false;

  /** What has happened when an owner is lost, as errors say it. */
  readonly loss: string;

  constructor(loss = "the worker that held the store ended") {
    this.loss = loss;
  }

  /** The opening of the store that the present owner has it from, or the last one had. */
  get lifeNow(): string | undefined {
    return this.life;
  }

  /** The owner that calls go to now. */
  get ownerNow(): string | undefined {
    return this.owner;
  }

  /** Whether there is an owner that takes calls. */
  get isAttached(): boolean {
    return this.send !== undefined;
  }

  /** Whether writes are under way or wait, or were answered and are not durable. */
  get isOwed(): boolean {
    if (this.kept.length > 0) return true;
    for (const call of this.sent.values()) if (WRITES.has(call.name)) return true;
    for (let at = 0; at < this.waiting.length; at++) {
      if (WRITES.has((this.waiting.at(at) as Call).name)) return true;
    }
    return false;
  }

  /** Whether it takes no more calls, for whatever reason. */
  get isOver(): boolean {
    return this.ending !== undefined;
  }

  /** Whether the connection was closed by its program. */
  get isClosed(): boolean {
    return this.refused;
  }

  /** Keeps a watch's place up to date for as long as its owner is the present one. */
  follow(watch: number, place: Place): void {
    this.places.set(watch, place);
  }

  /** A watch has ended. */
  unfollow(watch: number): void {
    this.places.delete(watch);
  }

  /** Watches have given all up to a version. */
  advance(watches: readonly [watch: number, version: number][]): void {
    for (const [watch, version] of watches) {
      const place = this.places.get(watch);
      if (place !== undefined) place.version = Math.max(place.version, version);
    }
  }

  /** Asks the owner, now or when there is one. */
  ask(name: WireCall, args: unknown[], extras: Extras = {}): Promise<unknown> {
    if (this.ending !== undefined) return Promise.reject(this.ending);
    const owner = BOUND.has(name) ? (this.owner ?? NOBODY) : extras.face?.owner;
    return new Promise((resolve, reject) => {
      this.waiting.push({ name, args, ...extras, owner, resolve, reject });
      this.schedule();
    });
  }

  /** Calls go to this owner from now on, as many at once as `window` lets. */
  attach({ owner, recoveredVersion, life = owner }: OwnerMessage, send: Send, window?: Window): void {
    if (this.ended || owner === this.owner) return;
    this.lose();
    this.owner = owner;
    this.send = send;
    this.window = window;
    if (life !== this.life) this.keepWhatCameBack(recoveredVersion);
    this.life = life;
    if (this.waiting.length > 0) this.schedule();
  }

  /** Has the writes done again that the store was opened without. */
  private keepWhatCameBack(recoveredVersion: number): void {
    this.durableVersion = 0;
    const lost = this.kept.filter(({ version }) => version > recoveredVersion);
    this.kept = [];
    const again = lost.map(
      ({ name, args, face }): Call => ({
        name,
        args,
        face,
        owner: undefined,
        isAgain: true,
        resolve: () => undefined,
        reject: (cause) => this.end(writesLost(cause, this.loss)),
      }),
    );
    this.waiting.putFirst(again);
  }

  /** The owner is gone. Calls wait for the next one. */
  lose(): void {
    if (this.owner === undefined) return;
    this.owner = undefined;
    this.places.clear();
    this.send = undefined;
    const { sent } = this;
    this.sent = new Map();
    this.sentSize = 0;
    const again: Call[] = [];
    for (const call of sent.values()) {
      if (isBound(call) && call.name !== "commit") call.reject(snapshotLost(call.name, this.loss));
      else if (WRITES.has(call.name)) call.reject(unanswered(call.name, this.loss));
      else again.push(call);
    }
    this.waiting.putFirst(again);
  }

  /** The owner will do no call from `lastId` on: those go to the next one. The others it still answers. */
  leave(lastId: number): void {
    this.send = undefined;
    const again: Call[] = [];
    for (const [id, call] of this.sent) {
      if (id < lastId) continue;
      this.forget(id, call);
      if (isBound(call)) call.reject(snapshotLost(call.name, this.loss));
      else again.push(call);
    }
    this.waiting.putFirst(again);
  }

  /** What calls came to. */
  answer({ ids, values, versions, failures, durableVersion }: AnswersMessage): void {
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      const call = this.sent.get(id);
      if (call === undefined) continue;
      this.forget(id, call);
      const version = versions?.[i] ?? 0;
      if (version > durableVersion) this.kept.push({ version, name: call.name, args: call.args, face: call.face });
      call.resolve(values[i]);
    }
    for (const [id, error] of failures) {
      const call = this.sent.get(id);
      if (call === undefined) continue;
      this.forget(id, call);
      // An owner that has said that it gives up closed its store before a long read had ended: the next one does it. One that stays would be
      // asked for ever.
      const isLeaving = this.send === undefined;
      if (error.code === "CLOSED" && isLeaving && !WRITES.has(call.name) && !isBound(call)) this.waiting.push(call);
      else call.reject(fromWireError(error));
    }
    if (this.waiting.length > 0) this.schedule();
    this.durable(durableVersion);
  }

  /** How far a call is. */
  progress({ id, progress }: ProgressMessage): void {
    try {
      this.sent.get(id)?.onProgress?.(progress);
    } catch {
      // A listener's failure is not the store's.
    }
  }

  /** What was written up to `version` need not be kept. */
  durable(version: number): void {
    if (version <= this.durableVersion) return;
    this.durableVersion = version;
    let count = 0;
    while (count < this.kept.length && (this.kept[count] as KeptWrite).version <= version) count++;
    if (count > 0) this.kept.splice(0, count);
  }

  /** Refuses the calls that wait for an owner, but for writes that are done again; later ones wait anew. */
  giveUpWaiting(error: CairnError): void {
    const calls = this.waiting.take(this.waiting.length);
    this.waiting.putFirst(calls.filter((call) => call.isAgain === true));
    for (const call of calls) if (call.isAgain !== true) call.reject(error);
  }

  /** Refuses all calls, those that wait and later ones. */
  end(error: CairnError): void {
    if (this.ended) return;
    this.ended = true;
    this.ending ??= error;
    this.send = undefined;
    for (const call of this.sent.values()) call.reject(error);
    for (const call of this.waiting.take(this.waiting.length)) call.reject(error);
    this.sent.clear();
    this.kept = [];
  }

  /** Refuses later calls. Those that were made go out now, and are answered still. */
  refuse(error: CairnError): void {
    this.ending ??= error;
    this.refused = true;
    this.flush();
  }

  private forget(id: number, { size = 0 }: Call): void {
    this.sent.delete(id);
    this.sentSize -= size;
  }

  /** How many of the calls that wait may go now. */
  private roomFor(waiting: Queue<Call>): number {
    const { window } = this;
    if (window === undefined) return waiting.length;
    const most = Math.min(waiting.length, window.calls - this.sent.size);
    let size = this.sentSize;
    for (let count = 0; count < most; count++) {
      const call = waiting.at(count) as Call;
      call.size ??= callSize(call.args);
      // One that is larger than the window goes alone.
      if (size > 0 && size + call.size > window.size) return count;
      size += call.size;
    }
    return Math.max(most, 0);
  }

  private schedule(): void {
    if (this.scheduled || this.send === undefined) return;
    this.scheduled = true;
    let turns = COMPANY_TURNS;
    const turn = (): void => {
      if (turns-- > 0) queueMicrotask(turn);
      else this.flush();
    };
    queueMicrotask(turn);
  }

  private flush(): void {
    this.scheduled = false;
    const { send, owner, waiting } = this;
    if (send === undefined || owner === undefined || waiting.length === 0) return;
    const count = this.roomFor(waiting);
    if (count === 0) return;
    const leaving = waiting.take(count);
    const id = this.idNext;
    const calls: unknown[] = [];
    const transfer: ArrayBuffer[] = [];
    let face: WireFace | undefined;
    for (const call of leaving) {
      if (isBound(call) && call.owner !== owner) {
        call.reject(snapshotLost(call.name, this.loss));
        continue;
      }
      if (call.face !== face) {
        face = call.face;
        calls.push(USE, face);
      }
      this.sent.set(this.idNext++, call);
      this.sentSize += call.size ?? 0;
      calls.push(call.name);
      for (const arg of call.args) calls.push(arg);
      if (call.transfer !== undefined) transfer.push(...call.transfer);
    }
    if (calls.length > 0) send({ type: "calls", owner, id, calls }, transfer);
  }
}

function unanswered(operation: string, loss: string): CairnError {
  const message = `${operation}: ${loss} before it was answered, so this write may have happened or not. Read what is there, then write again.`;
  return new CairnError("DEVICE_WRITE", operation, message);
}

/** Whether a call means nothing to another owner. */
function isBound({ owner }: Call): boolean {
  return owner !== undefined;
}

function snapshotLost(operation: string, loss: string): CairnError {
  const message = `${operation}: ${loss}, and its snapshots with it. Begin again, with a new one.`;
  return new CairnError("SNAPSHOT_EXPIRED", operation, message);
}

function writesLost(cause: unknown, loss: string): CairnError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `${loss}, and writes that were visible but not durable could not be done again: ${reason}. Connect again.`;
  return new CairnError("POISONED", "connect", message, { cause });
}
