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
import { checkArguments, readArguments, readFace } from "../remote/arguments.ts";
import { ServedOperations, type ServedStoreParts } from "./served-operations.ts";

/** Bytes of answers that go out as a frame. */
const FRAME_SIZE = 256 * 1024;
const PLAIN: WireFace = { path: [], keysAreText: false, valuesAreText: false };

/** See above. */
export class WorkerSession {
  private readonly store: WireStore;
  private readonly served: ServedCalls;
  private readonly operations: ServedOperations;
  private readonly send: (frame: Uint8Array) => void;
  private readonly owner: string;
  private readonly frames = new ServerFrames();
  private readonly args: unknown[] = [];
  private isLaterDue = false;
  private isOver = false;

  /** `store` has bytes as keys and values. `owner` names the session. */
  constructor(store: WireStore, parts: ServedStoreParts, owner: string, send: (frame: Uint8Array) => void) {
    this.store = store;
    this.owner = owner;
    this.send = send;
    this.served = new ServedCalls(new WireStores(store, "binary"), owner);
    this.operations = new ServedOperations(parts, this.served.views);
  }

  /** Does the calls of a frame. Throws `MalformedError` for what no worker sends. */
  calls(frame: Buffer): void {
    const reader = new CborReader(frame);
    reader.uint();
    let id = reader.uint();
    let face = PLAIN;
    const { args } = this;
    while (!reader.isDone) {
      const call = CALLS[reader.uint()] as WireCall | typeof USE;
      if (call === USE) {
        face = readFace(reader, this.owner) ?? PLAIN;
        continue;
      }
      readArguments(reader, call, args);
      this.do(id++, call, face, args);
      if (this.frames.size >= FRAME_SIZE) this.flush();
    }
    this.flush();
  }

  /** The worker is gone, with all that it has begun. */
  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.served.end();
  }

  private do(id: number, call: WireCall, face: WireFace, args: unknown[]): void {
    try {
      let value: unknown;
      if (call === "serve") value = this.operations.run(args[0] as unknown[]);
      else {
        checkArguments(call, args, Number.POSITIVE_INFINITY);
        value = this.served.run(face, call, args, 0, {});
      }
      if (value instanceof Promise) this.answerLater(id, call, value);
      else this.frames.answer(id, value, 0, this.store.durableVersion);
    } catch (error) {
      this.fail(id, call, error);
    }
  }

  private answerLater(id: number, call: WireCall, promise: Promise<unknown>): void {
    promise.then(
      (value) => {
        try {
          this.frames.answer(id, value, 0, this.store.durableVersion);
        } catch (error) {
          this.fail(id, call, error);
        }
        this.flushLater();
      },
      (error: unknown) => {
        this.fail(id, call, error);
        this.flushLater();
      },
    );
  }

  private fail(id: number, call: WireCall, error: unknown): void {
    this.frames.fail(id, toWireError(error, call), this.store.durableVersion);
  }

  /** Promises of a commit group settle in one turn: their answers share a frame. */
  private flushLater(): void {
    if (this.frames.size >= FRAME_SIZE) this.flush();
    if (this.isLaterDue) return;
    this.isLaterDue = true;
    queueMicrotask(() =>
      queueMicrotask(() => {
        this.isLaterDue = false;
        this.flush();
      }),
    );
  }

  private flush(): void {
    const frame = this.frames.take();
    if (frame !== undefined && !this.isOver) this.send(frame);
  }
}
