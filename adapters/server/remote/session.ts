/**
 * One connection of `cairn-kv/client`: does its calls on its tenant's keys, in their order, and sends back what they came to.
 *
 * 1. Nothing of a frame is believed: `arguments.ts` checks what calls take, `rights.ts` whether they are allowed. A frame that is none ends
 *    the connection.
 * 2. While too much waits to be sent, too many calls wait for the store, or the tenant's rate is used up, no further call is done and
 *    nothing is read from the client.
 * 3. What it holds (walks, snapshots, transactions, watches, backups) is counted, and gone with the connection.
 */
import { CborReader, MalformedError } from "../../../store/connection/cbor.ts";
import { WireStores } from "../../../store/connection/faces.ts";
import { CALLS, FROM_CLIENT, ServerFrames } from "../../../store/connection/frames.ts";
import { ServedCalls } from "../../../store/connection/served-calls.ts";
import { USE, type WireCall, type WireFace, WRITES } from "../../../store/connection/wire.ts";
import { CairnError } from "../../../store/error.ts";
import { AfterGroup } from "../../../store/turn.ts";
import { failureOf } from "../failure.ts";
import { AnsweredTogether } from "../metrics/meter.ts";
import { numberOf } from "../metrics/operations.ts";
import type { Socket, SocketSession } from "../wire.ts";
import { checkArguments, readArguments, readFace } from "./arguments.ts";
import { checkHeld, checkView, copied, shownError } from "./held.ts";
import { manyValues } from "./many-values.ts";
import { Rights } from "./rights.ts";
import type { SessionTerms } from "./session-terms.ts";

/** How long what is held back waits before it is looked at again, when nothing wakes it. */
const HELD_MS = 50;
/** Bytes of answers that go out as a frame. */
const FRAME_SIZE = 256 * 1024;
/** How long calls that wait may take when the server closes. */
const CLOSING_MS = 5000;
const DONE = 200;
const CLOSE = { away: 1001, protocol: 1002, type: 1003, policy: 1008 } as const;

/** No version: an empty store has the version 0. */
const NO_WRITE = -1;
/** What metrics call the calls. */
const NUMBERS = new Map(CALLS.map((call) => [call, numberOf("remote", String(call))]));

const PLAIN: WireFace = { path: [], keysAreText: false, valuesAreText: false };
/** See above. */
export class RemoteSession implements SocketSession {
  private readonly socket: Socket;
  private readonly terms: SessionTerms;
  private readonly served: ServedCalls;
  private readonly rights: Rights;
  private readonly frames = new ServerFrames();
  private readonly owner = crypto.randomUUID();
  private readonly args: unknown[] = [];
  /** Frames that wait, the first of which may have been begun. */
  private queue: Uint8Array[] = [];
  private queueSize = 0;
  private reader: CborReader | undefined;
  private face: WireFace = PLAIN;
  private callId = 0;
  /** Whether the next call was taken from the rates already. */
  private isAdmitted = false;
  private pending = 0;
  /** A call whose answer may be large is under way: no other is begun, so that few such answers are in memory. */
  private isHeavy = false;
  private readonly answered = new AnsweredTogether();
  /** When what is done at present came, or could be begun. */
  private startMs = 0;
  /** Answers that came while too much waited to be sent. */
  private late: (() => void)[] = [];
  private heldTimer: ReturnType<typeof setTimeout> | undefined;
  private closingTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly afterGroup = new AfterGroup(() => this.flushed());
  private isClosing = false;
  private isOver = false;
  /** The newest version that it has been answered with, and been told of as durable. */
  private version = 0;
  private durableVersion = 0;
  private placesVersion = 0;
  /** When it last said something. */
  heardAt = performance.now();

  constructor(socket: Socket, terms: SessionTerms) {
    const { principal, namespace, isReadOnly, store, life, limits, told } = terms;
    this.socket = socket;
    this.terms = terms;
    this.rights = new Rights(principal, namespace, isReadOnly, told);
    this.served = new ServedCalls(new WireStores(store, "binary"), this.owner, life);
    const { frameSizeMax, windowSize, windowCalls, idleMs } = limits;
    const { owner } = this;
    const { recoveredVersion } = store;
    socket.send(this.frames.welcome({ owner, life, recoveredVersion, frameSizeMax, windowSize, windowCalls, idleMs }));
  }

  message(frame: string | Uint8Array): void {
    if (this.isOver) return;
    this.heardAt = performance.now();
    if (typeof frame === "string") {
      this.fail(CLOSE.type, "frames are binary");
      return;
    }
    const isIdle = this.reader === undefined && this.queue.length === 0 && this.heldTimer === undefined;
    // What waits is looked at later, when the listener's buffer may hold something else.
    const own = frame.slice();
    this.queueSize += own.length;
    const { windowSize, frameSizeMax } = this.terms.limits;
    if (this.queueSize > 4 * windowSize + frameSizeMax) {
      this.fail(CLOSE.policy, "more calls were sent than may be unanswered");
      return;
    }
    this.queue.push(own);
    if (isIdle) this.work();
  }

  drained(): void {
    this.answerLate();
    if (this.heldTimer !== undefined) this.resume();
  }

  closed(): void {
    this.end();
  }

  /** Ends a connection whose client is gone, or may be here no longer. */
  drop(code: number, reason: string): void {
    if (this.isOver) return;
    // Its answer to the close has to be read.
    if (this.heldTimer !== undefined) this.socket.resume();
    this.socket.close(code, reason);
    this.end();
  }

  /** Does no further call, answers those that wait, and ends it. */
  finish(): void {
    if (this.isOver || this.isClosing) return;
    this.isClosing = true;
    this.queue = [];
    this.reader = undefined;
    this.socket.send(this.frames.closing(this.callId));
    this.served.end();
    this.closingTimer = setTimeout(() => this.drop(CLOSE.away, "the server closes"), CLOSING_MS);
    // A client that is not told keeps its writes, to send them again.
    const { store } = this.terms;
    const flushed = this.version > this.durableVersion ? store.flush() : Promise.resolve();
    this.pending++;
    const done = (): void => {
      this.pending--;
      this.tell();
      // Answers of the last group go out in the turn after it.
      setTimeout(() => this.leaveWhenDone());
    };
    flushed.then(done, done);
  }

  /** Ends what its client has left unused for too long. */
  endUnused(now: number): void {
    const before = now - this.terms.limits.unusedMs;
    this.served.walks.endUnused(before);
    this.served.views.endUnused(before);
  }

  /** Tells it what has become durable. Whether there is more to tell later. */
  tell(): boolean {
    if (this.isOver) return false;
    const { durableVersion } = this.terms.store;
    const { watchCount } = this.served;
    if (this.version > this.durableVersion && durableVersion > this.durableVersion) {
      this.durableVersion = durableVersion;
      this.socket.send(this.frames.durable(durableVersion));
    }
    if (watchCount > 0 && durableVersion > this.placesVersion) {
      this.placesVersion = durableVersion;
      const places = this.served.places();
      if (places.length > 0) this.socket.send(this.frames.watched(places));
    }
    return this.version > this.durableVersion || watchCount > 0;
  }

  /** Does calls as long as nothing holds them back. */
  private work(): void {
    this.startMs = performance.now();
    try {
      while (!this.isOver && !this.isClosing) {
        this.reader ??= this.begin();
        const { reader } = this;
        if (reader === undefined) break;
        if (reader.isDone) {
          this.reader = undefined;
          continue;
        }
        const holdMs = this.holdMs();
        if (holdMs > 0) {
          this.hold(holdMs);
          break;
        }
        this.step(reader);
        if (this.frames.size >= FRAME_SIZE) this.flush();
      }
    } catch (error) {
      this.fail(CLOSE.protocol, error instanceof MalformedError ? error.message : "server error");
      return;
    }
    this.flush();
  }

  /** The next frame of calls; `undefined` when there is none. */
  private begin(): CborReader | undefined {
    while (true) {
      const frame = this.queue.shift();
      if (frame === undefined) return undefined;
      this.queueSize -= frame.length;
      const reader = new CborReader(frame);
      const type = reader.uint();
      if (type === FROM_CLIENT.PING && reader.isDone) {
        this.socket.send(this.frames.pong());
        continue;
      }
      if (type !== FROM_CLIENT.CALLS) throw new MalformedError(`a frame has the type ${type}`);
      const id = reader.uint();
      if (id < this.callId) throw new MalformedError("ids of calls do not count up");
      this.callId = id;
      this.face = PLAIN;
      return reader;
    }
  }

  /** Reads a call, or whom calls are for, and does it. */
  private step(reader: CborReader): void {
    const call = CALLS[reader.uint()];
    if (call === undefined) throw new MalformedError("there is no call of this number");
    if (call === USE) {
      this.face = readFace(reader, this.owner) ?? PLAIN;
      return;
    }
    this.isAdmitted = false;
    const id = this.callId++;
    const { args, face, terms } = this;
    readArguments(reader, call, args);
    try {
      checkArguments(call, args, terms.limits.keysMax);
      this.rights.admit(call, face, args);
      checkView(this.served, call, face);
      checkHeld(this.served, call, args, terms.limits);
      const before = WRITES.has(call) ? terms.store.version : NO_WRITE;
      const value = this.run(id, call, face, args);
      if (value instanceof Promise) this.answerLater(id, call, value);
      else {
        this.answer(id, call, value, before);
        this.note(call, DONE, this.startMs);
      }
    } catch (error) {
      this.refuse(id, call, error);
      this.note(call, failureOf(error).status, this.startMs);
    }
  }

  private run(id: number, call: WireCall, face: WireFace, args: unknown[]): unknown {
    const { served } = this;
    if (call === "flush") return this.flushOwn();
    // A watch keeps its keys, and would keep the whole frame.
    const own = call === "watch" ? args.map(copied) : args;
    if (call === "getMany") {
      const read = (keys: Uint8Array[]): Promise<Uint8Array[]> =>
        served.run(face, "getMany", [keys], 0, {}) as Promise<Uint8Array[]>;
      return manyValues(own[0] as Uint8Array[], read, this.terms.limits.answerSizeMax);
    }
    const value = served.run(face, call, own, 0, {
      onProgress: (progress) => {
        if (!this.isOver) this.socket.send(this.frames.progress(id, progress));
      },
    });
    if (call === "watch") this.terms.isBehind(this);
    return value;
  }

  /** Has what this connection has written made durable: where it has written nothing, there is nothing to sync. */
  private flushOwn(): Promise<void> | undefined {
    const { store } = this.terms;
    return this.pending > 0 || this.version > store.durableVersion ? store.flush() : undefined;
  }

  /** `before` is the version that there was before a write that was answered at once, else `NO_WRITE`. */
  private answer(id: number, call: WireCall, value: unknown, before: number): void {
    const { frames, terms } = this;
    const { store, limits } = terms;
    const { durableVersion } = store;
    const version = before === NO_WRITE ? 0 : store.version;
    const isUnsafe = version > before && version > durableVersion;
    const { size } = frames;
    frames.answer(id, value, isUnsafe ? version : 0, durableVersion);
    if (frames.size - size > limits.answerSizeMax) {
      frames.cut(size);
      const message = `${call}: the answer has more than the ${limits.answerSizeMax} bytes that the server sends at once.`;
      throw new CairnError("VALUE_SIZE", call, message);
    }
    if (!isUnsafe) return;
    this.version = version;
    this.durableVersion = durableVersion;
    terms.isBehind(this);
  }

  private refuse(id: number, call: WireCall, error: unknown): void {
    this.frames.fail(id, shownError(error, call), this.terms.store.durableVersion);
  }

  private answerLater(id: number, call: WireCall, promise: Promise<unknown>): void {
    this.pending++;
    const isHeavy = HEAVY.has(call);
    if (isHeavy) this.isHeavy = true;
    const { startMs } = this;
    const settle = (status: number, give: () => void): void => {
      this.pending--;
      this.note(call, status, startMs);
      if (isHeavy) this.isHeavy = false;
      if (this.isOver) return;
      const answer = (): void => {
        try {
          give();
        } catch (error) {
          this.refuse(id, call, error);
        }
      };
      if (this.late.length > 0 || this.isFull) this.late.push(answer);
      else answer();
      this.flushLater();
    };
    promise.then(
      (value) => settle(DONE, () => this.answer(id, call, value, NO_WRITE)),
      (error) => settle(failureOf(error).status, () => this.refuse(id, call, error)),
    );
  }

  /** Promises of a commit group settle in one turn: their answers share a frame. */
  private flushLater(): void {
    if (this.frames.size >= FRAME_SIZE) this.flush();
    this.afterGroup.ask();
  }

  private flushed(): void {
    this.flush();
    if (this.isClosing) this.leaveWhenDone();
    else if (this.heldTimer !== undefined && !this.isHeavy && this.pending < this.terms.limits.pendingMax / 2) {
      this.resume();
    }
  }

  private get isFull(): boolean {
    return this.socket.bufferedBytes > this.terms.limits.sendSizeHigh;
  }

  private answerLate(): void {
    while (this.late.length > 0 && !this.isOver && !this.isFull) {
      this.late.shift()?.();
      if (this.frames.size >= FRAME_SIZE) this.flush();
    }
    this.flush();
    if (this.isClosing) this.leaveWhenDone();
  }

  private flush(): void {
    const frame = this.isOver ? undefined : this.frames.take();
    if (frame !== undefined) this.socket.send(frame);
    const { meter, principal } = this.terms;
    if (meter !== undefined) this.answered.tell(meter, principal.tenant);
  }

  private note(call: WireCall, status: number, startMs: number): void {
    if (this.terms.meter !== undefined) this.answered.add(NUMBERS.get(call) as number, status, startMs);
  }

  /** Milliseconds for which the next call has to wait. */
  private holdMs(): number {
    const { limits } = this.terms;
    if (this.socket.bufferedBytes + this.frames.size > limits.sendSizeHigh) {
      this.flush();
      if (this.isFull) return HELD_MS;
    }
    if (this.isHeavy || this.pending >= limits.pendingMax) return HELD_MS;
    if (this.isAdmitted) return 0;
    const seconds = this.terms.admit();
    if (seconds > 0) return Math.ceil(seconds * 1000);
    this.isAdmitted = true;
    return 0;
  }

  private hold(ms: number): void {
    this.socket.pause();
    this.heldTimer = setTimeout(() => this.resume(), ms);
  }

  private resume(): void {
    clearTimeout(this.heldTimer);
    this.heldTimer = undefined;
    if (this.isOver) return;
    this.answerLate();
    this.work();
    if (this.heldTimer === undefined) this.socket.resume();
  }

  private leaveWhenDone(): void {
    if (this.isOver || this.pending > 0 || this.late.length > 0) return;
    this.flush();
    this.drop(CLOSE.away, "the server closes");
  }

  private fail(code: number, reason: string): void {
    this.flush();
    this.drop(code, reason);
  }

  private end(): void {
    if (this.isOver) return;
    this.isOver = true;
    clearTimeout(this.heldTimer);
    clearTimeout(this.closingTimer);
    this.queue = [];
    this.late = [];
    this.reader = undefined;
    this.served.end();
    this.terms.ended(this);
  }
}

/** Calls whose answers may be large, and come later. */
const HEAVY: ReadonlySet<WireCall> = new Set<WireCall>(["getMany", "backupPart"]);
