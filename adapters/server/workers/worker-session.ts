/**
 * What the owner does for one worker: its calls on the store, in the order in which they come. The worker has judged what its clients may;
 * here is nothing looked at but what a call needs.
 */
import type { Buffer } from "node:buffer";
import { CborReader } from "../../../store/connection/cbor.ts";
import { type WireStore, WireStores } from "../../../store/connection/faces.ts";
import { CALLS, ServerFrames } from "../../../store/connection/frames.ts";
import { ServedCalls } from "../../../store/connection/served-calls.ts";
import { toWireError, USE, type WireCall, type WireFace } from "../../../store/connection/wire.ts";
import { AfterGroup } from "../../../store/turn.ts";
import { checkArguments, readArguments, readFace } from "../remote/arguments.ts";
import { READS, ServedOperations, type ServedStoreParts } from "./served-operations.ts";

/** Bytes of answers that go out as a frame. */
const FRAME_SIZE = 256 * 1024;
/** Values that are read from the device at once. */
const READS_MAX = 16;
const PLAIN: WireFace = { path: [], keysAreText: false, valuesAreText: false };

/** The pipe to the worker. */
export interface WorkerLine {
  send(frame: Uint8Array): void;
  /** Whether much waits for the worker to read it: no further call is done then, until `drained` is called. */
  readonly isFull: boolean;
  /** Told of a frame that no worker sends, where it is found later. */
  broken(error: unknown): void;
}

/** See above. */
export class WorkerSession {
  private readonly store: WireStore;
  private readonly served: ServedCalls;
  private readonly operations: ServedOperations;
  private readonly line: WorkerLine;
  /** Frames that wait until the worker has read what it was sent, the first of which may have been begun. */
  private waiting: Buffer[] = [];
  private reader: CborReader | undefined;
  private face = PLAIN;
  private callId = 0;
  private reads = 0;
  /** Answers that came while the worker had much to read. */
  private late: (() => void)[] = [];
  private readonly owner: string;
  private readonly frames = new ServerFrames();
  private readonly args: unknown[] = [];
  private readonly afterGroup = new AfterGroup(() => this.flushed());
  private isOver = false;

  /** `store` has bytes as keys and values. `owner` names the session. */
  constructor(store: WireStore, parts: ServedStoreParts, owner: string, line: WorkerLine) {
    this.store = store;
    this.owner = owner;
    this.line = line;
    this.served = new ServedCalls(new WireStores(store, "binary"), owner);
    this.operations = new ServedOperations(parts, this.served.views);
  }

  /** Does the calls of a frame. Throws `MalformedError` for what no worker sends. */
  calls(frame: Buffer): void {
    this.waiting.push(frame);
    if (this.waiting.length === 1 && this.reader === undefined) this.work();
  }

  /** The worker has read what it was sent. Throws as `calls` does. */
  drained(): void {
    while (this.late.length > 0 && !this.line.isFull) {
      this.late.shift()?.();
      if (this.frames.size >= FRAME_SIZE) this.flush();
    }
    this.flush();
    this.goOn();
  }

  private goOn(): void {
    const isThere = this.reader !== undefined || this.waiting.length > 0;
    if (isThere && !this.line.isFull) this.work();
  }

  private work(): void {
    const { args } = this;
    while (!this.isOver) {
      const reader = this.reader ?? (this.line.isFull ? undefined : this.begin());
      if (reader === undefined) break;
      while (!reader.isDone) {
        if (this.reads >= READS_MAX) {
          this.flush();
          return;
        }
        const call = CALLS[reader.uint()] as WireCall | typeof USE;
        if (call === USE) {
          this.face = readFace(reader, this.owner) ?? PLAIN;
          continue;
        }
        readArguments(reader, call, args);
        this.do(this.callId++, call, this.face, args);
        if (this.frames.size < FRAME_SIZE) continue;
        this.flush();
        if (this.line.isFull) return;
      }
      this.reader = undefined;
    }
    this.flush();
  }

  /** The next frame of calls; `undefined` when there is none. */
  private begin(): CborReader | undefined {
    const frame = this.waiting.shift();
    if (frame === undefined) return undefined;
    const reader = new CborReader(frame);
    reader.uint();
    this.callId = reader.uint();
    this.face = PLAIN;
    this.reader = reader;
    return reader;
  }

  /** The worker is gone, with all that it has begun. */
  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.waiting = [];
    this.late = [];
    this.reader = undefined;
    this.served.end();
  }

  private do(id: number, call: WireCall, face: WireFace, args: unknown[]): void {
    try {
      let value: unknown;
      let isRead = false;
      if (call === "serve") {
        const asked = args[0] as unknown[];
        value = this.operations.run(asked);
        isRead = READS.has(asked[0]);
      } else {
        checkArguments(call, args, Number.POSITIVE_INFINITY);
        value = this.served.run(face, call, args, 0, {});
      }
      if (value instanceof Promise) this.answerLater(id, call, value, isRead);
      else this.frames.answer(id, value, 0, this.store.durableVersion);
    } catch (error) {
      this.fail(id, call, error);
    }
  }

  private answerLater(id: number, call: WireCall, promise: Promise<unknown>, isRead: boolean): void {
    if (isRead) this.reads++;
    const settle = (give: () => void): void => {
      if (this.isOver) return;
      const answer = (): void => {
        give();
        if (isRead) this.reads--;
      };
      if (this.late.length > 0 || this.line.isFull) this.late.push(answer);
      else answer();
      this.flushLater();
    };
    promise.then(
      (value) =>
        settle(() => {
          try {
            this.frames.answer(id, value, 0, this.store.durableVersion);
          } catch (error) {
            this.fail(id, call, error);
          }
        }),
      (error: unknown) => settle(() => this.fail(id, call, error)),
    );
  }

  private fail(id: number, call: WireCall, error: unknown): void {
    this.frames.fail(id, toWireError(error, call), this.store.durableVersion);
  }

  /** Promises of a commit group settle in one turn: their answers share a frame. */
  private flushLater(): void {
    if (this.frames.size >= FRAME_SIZE) this.flush();
    this.afterGroup.ask();
  }

  private flushed(): void {
    this.flush();
    if (this.reads >= READS_MAX) return;
    try {
      this.goOn();
    } catch (error) {
      this.line.broken(error);
    }
  }

  private flush(): void {
    const frame = this.frames.take();
    if (frame !== undefined && !this.isOver) this.line.send(frame);
  }
}
