/**
 * One RIOC connection: what its operations do, and what they answer.
 *
 * 1. Operations happen in the order in which they came, over all batches of the connection: a read has what its key held at its turn,
 *    however late its value comes.
 * 2. A write is answered when it is on stable storage. Operations behind it do not wait for that, their answers do.
 * 3. A batch is taken whole whatever its replies weigh: a client sends it before it reads. When much waits, or the reads of a whole batch
 *    have no values yet, no other batch begins: what comes is kept, and the listener reads no more.
 */

import { sizeOf } from "../../../store/batch.ts";
import { CairnError } from "../../../store/error.ts";
import type { LimitKeeper, Meter } from "../context.ts";
import { failureOf } from "../failure.ts";
import { AnsweredTogether } from "../metrics/meter.ts";
import { numberOf } from "../metrics/operations.ts";
import type { Operations, ServedRecord } from "../operations.ts";
import type { Principal, Verb } from "../principal.ts";
import {
  BATCH_COUNT_MAX,
  Command,
  INTEGER_SIZE,
  RANGE_RECORD_OVERHEAD,
  RANGE_SIZE_MAX,
  Status,
  VALUE_SIZE_MAX,
} from "./format.ts";
import { type RiocOperation, RiocParser } from "./parser.ts";
import { type Awaited, Replies } from "./replies.ts";

/** A payload of fewer bytes is not counted among what is in flight. */
const COUNTED_SIZE_MIN = 4096;
const NO_INTEGER = new Uint8Array(INTEGER_SIZE);
const encoder = new TextEncoder();

/** By command: what metrics call it. */
const NUMBERS: readonly (number | undefined)[] = [
  undefined,
  ...["get", "insert", "delete", "partial_update", "", "range", "atomic"].map((name) => numberOf("rioc", name)),
];
const OTHER = numberOf("rioc", "");

/** What statuses are over HTTP. */
const HTTP_STATUS: Readonly<Record<Status, number>> = {
  [Status.SUCCESS]: 200,
  [Status.PARAM]: 400,
  [Status.MEMORY]: 507,
  [Status.IO]: 500,
  [Status.PROTOCOL]: 400,
  [Status.DEVICE]: 507,
  [Status.NO_ENTRY]: 404,
  [Status.BUSY]: 429,
  [Status.OVERFLOW]: 413,
  [Status.STALE]: 409,
};

/** What a session is for. */
export interface RiocSessionTerms {
  principal: Principal;
  operations: Operations;
  limits: LimitKeeper;
  /** Whether timestamps order writes: an older one than the record's is refused. */
  isStrict: boolean;
  /** Bytes of replies that may wait before nothing more is read. */
  queueBytesMax: number;
  /** Bytes that were sent and have not left. */
  unsentBytes(): number;
  /** Sends bytes, which are the receiver's from then on. */
  send(bytes: Uint8Array): void;
  /** The other side does not keep to the protocol: nothing more is taken, and what was begun is answered. */
  fail(why: string): void;
  /** All that was begun is answered. */
  idle(): void;
  /** Told of what was refused for want of a right. The key is the caller's. */
  denied(verb: Verb, key: Uint8Array): void;
  /** Told of each operation. */
  meter: Meter;
}

export class RiocSession {
  private readonly terms: RiocSessionTerms;
  private readonly replies: Replies;
  private readonly parser: RiocParser;
  /** Reads that have no value yet. */
  private reads = 0;
  /** What came and may not begin yet: pieces of the stream, the first from `restStart` on. */
  private rest: Uint8Array[] = [];
  private restStart = 0;
  private busySeconds = 0;
  private readonly answered = new AnsweredTogether();
  /** When what is looked at came. */
  startMs = 0;
  private isOver = false;

  constructor(terms: RiocSessionTerms) {
    this.terms = terms;
    this.replies = new Replies(terms.send);
    this.parser = new RiocParser({
      ready: () => this.isReady(),
      begin: (count) => {
        this.busySeconds = terms.limits.request(terms.principal, count, this.startMs);
      },
      admit: (size) => this.admit(size),
      operation: (operation) => this.run(operation),
    });
  }

  /** Whether a request was begun, and has not come to its end. */
  get isWithinRequest(): boolean {
    return this.parser.isWithinRequest;
  }

  /** Whether there is something that is still to be done or answered. */
  get isBusy(): boolean {
    return !this.replies.isEmpty || this.rest.length > 0;
  }

  /** Whether what came is kept until replies have gone: nothing more should be read. */
  get isFull(): boolean {
    return this.rest.length > 0;
  }

  /** Takes what came. The bytes must not change any more. */
  receive(piece: Uint8Array): void {
    if (this.isOver) return;
    this.rest.push(piece);
    this.resume();
  }

  /** Goes on with what was kept, as far as that may begin now. */
  resume(): void {
    if (this.rest.length > 0) this.startMs = performance.now();
    while (this.rest.length > 0 && this.parser.broken === undefined) {
      const piece = this.rest[0] as Uint8Array;
      this.restStart = this.parser.take(piece, this.restStart);
      if (this.restStart < piece.length) break;
      this.rest.shift();
      this.restStart = 0;
    }
    this.flush();
    if (this.parser.broken === undefined) return;
    this.rest = [];
    this.terms.fail(this.parser.broken);
  }

  /** The connection is over: what was begun is done, and answered to nobody. */
  end(): void {
    this.isOver = true;
    this.rest = [];
    // Of a payload that has not come whole.
    const { admittedSize } = this.parser;
    if (admittedSize >= COUNTED_SIZE_MIN) this.terms.limits.release(this.terms.principal.tenant, admittedSize);
  }

  /** Sends what is known, and tells of it. */
  private flush(): void {
    this.replies.flush();
    this.answered.tell(this.terms.meter, this.terms.principal.tenant);
  }

  private isReady(): boolean {
    const { unsentBytes, queueBytesMax } = this.terms;
    if (this.isOver || this.reads >= BATCH_COUNT_MAX) return false;
    return unsentBytes() + this.replies.size <= queueBytesMax;
  }

  private admit(size: number): boolean {
    if (this.busySeconds > 0) return false;
    return size < COUNTED_SIZE_MIN || this.terms.limits.take(this.terms.principal.tenant, size);
  }

  private release({ key, value }: RiocOperation): void {
    const size = key.length + value.length;
    if (size >= COUNTED_SIZE_MIN) this.terms.limits.release(this.terms.principal.tenant, size);
  }

  private run(operation: RiocOperation): void {
    let refusal: Status | undefined;
    try {
      refusal = this.perform(operation);
    } catch (error) {
      refusal = statusOf(error);
    }
    if (refusal === undefined) return;
    this.release(operation);
    this.refuseAt(undefined, operation, refusal);
    this.note(operation, refusal, this.startMs);
  }

  /** Begins an operation; the status of one that is refused before anything happened. */
  private perform(operation: RiocOperation): Status | undefined {
    const { command, key, value, refused } = operation;
    const { operations, principal } = this.terms;
    if (refused !== undefined) return refused === "size" ? Status.OVERFLOW : Status.BUSY;
    switch (command) {
      case Command.GET: {
        if (key.length === 0 || value.length > 0 || !this.may("read", key)) return Status.PARAM;
        const found = operations.getBytes(key);
        this.release(operation);
        if (found instanceof Promise) this.read(operation, found, (bytes, place) => this.given(bytes, place));
        else this.note(operation, this.given(found, undefined), this.startMs);
        return undefined;
      }
      case Command.INSERT: {
        if (key.length === 0 || value.length === 0 || !this.may("write", key)) return Status.PARAM;
        const stored = operations.put(key, value, this.optionsOf(operation));
        this.write(operation, stored, (_, place) => this.done(place));
        return undefined;
      }
      case Command.DELETE: {
        if (key.length === 0 || value.length > 0 || !this.may("delete", key)) return Status.PARAM;
        const deleted = operations.delete(key, this.optionsOf(operation));
        this.write(operation, deleted, (wasThere, place) =>
          this.answer(place, wasThere ? Status.SUCCESS : Status.NO_ENTRY, 0, undefined),
        );
        return undefined;
      }
      case Command.PARTIAL_UPDATE: {
        if (key.length === 0 || value.length === 0 || !this.may("write", key)) return Status.PARAM;
        const patched = operations.patch(key, value, VALUE_SIZE_MAX);
        this.write(operation, patched, (_, place) => this.done(place));
        return undefined;
      }
      case Command.ATOMIC_INC_DEC: {
        if (key.length === 0 || value.length !== INTEGER_SIZE || !this.may("write", key)) return Status.PARAM;
        // It tells what was there.
        if (!this.may("read", key)) return Status.PARAM;
        const by = new DataView(value.buffer, value.byteOffset, INTEGER_SIZE).getBigInt64(0, true);
        this.write(operation, operations.increment(key, by), (sum, place) => {
          const body = new Uint8Array(INTEGER_SIZE);
          new DataView(body.buffer).setBigInt64(0, sum, true);
          return this.answer(place, Status.SUCCESS, INTEGER_SIZE, body);
        });
        return undefined;
      }
      case Command.RANGE_QUERY: {
        if (key.length === 0 || value.length === 0) return Status.PARAM;
        if (!principal.mayRange("range", key, value)) return this.denied("range", key);
        const limits = { sizeMax: RANGE_SIZE_MAX, overhead: RANGE_RECORD_OVERHEAD };
        const page = operations.range({ start: key, end: value, ...limits });
        this.release(operation);
        this.read(operation, page, ({ records }, place) => {
          const fitting = records.filter(fits);
          return this.answer(place, Status.SUCCESS, fitting.length, bodyOf(fitting));
        });
        return undefined;
      }
      default:
        return Status.PROTOCOL;
    }
  }

  private may(verb: Verb, key: Uint8Array): boolean {
    if (this.terms.principal.may(verb, key)) return true;
    this.denied(verb, key);
    return false;
  }

  private denied(verb: Verb, key: Uint8Array): Status {
    this.terms.denied(verb, key);
    return Status.PARAM;
  }

  private done(place: Awaited): Status {
    return this.answer(place, Status.SUCCESS, 0, undefined);
  }

  private given(bytes: Uint8Array | undefined, place: Awaited | undefined): Status {
    if (bytes === undefined) return this.answer(place, Status.NO_ENTRY, 0, undefined);
    if (bytes.length > VALUE_SIZE_MAX) return this.answer(place, Status.OVERFLOW, 0, undefined);
    return this.answer(place, Status.SUCCESS, bytes.length, bytes);
  }

  private note({ command }: RiocOperation, status: Status, startMs: number): void {
    this.answered.add(NUMBERS[command] ?? OTHER, HTTP_STATUS[status], startMs);
  }

  /** `use` answers, and says with which status. */
  private read<T>(operation: RiocOperation, promise: Promise<T>, use: (value: T, place: Awaited) => Status): void {
    const place = this.replies.await();
    const { startMs } = this;
    this.reads += 1;
    const settled = (status: Status): void => {
      this.reads -= 1;
      this.note(operation, status, startMs);
      this.settled();
    };
    promise.then(
      (value) => settled(use(value, place)),
      (error) => settled(this.answer(place, statusOf(error), 0, undefined)),
    );
  }

  private write<T>(operation: RiocOperation, promise: Promise<T>, use: (value: T, place: Awaited) => Status): void {
    const place = this.replies.await();
    const { startMs } = this;
    const settled = (status: Status): void => {
      this.release(operation);
      this.note(operation, status, startMs);
      this.settled();
    };
    promise.then(
      (value) => settled(use(value, place)),
      (error) => {
        const status = statusOf(error);
        this.refuseAt(place, operation, status);
        settled(status);
      },
    );
  }

  private settled(): void {
    if (this.rest.length > 0) this.resume();
    else this.flush();
    if (!this.isBusy) this.terms.idle();
  }

  private answer(place: Awaited | undefined, status: Status, count: number, body: Uint8Array | undefined): Status {
    if (place === undefined) this.replies.add(status, count, body);
    else this.replies.settle(place, status, count, body);
    return status;
  }

  /**
   * The published client frees the result of an addition in a batch of several without having got one, and crashes, unless eight bytes
   * come with the status. In a batch of one it reads no body of an error.
   */
  private refuseAt(place: Awaited | undefined, { command, isOneOfSeveral }: RiocOperation, status: Status): void {
    if (command === Command.ATOMIC_INC_DEC && isOneOfSeveral) this.answer(place, status, INTEGER_SIZE, NO_INTEGER);
    else this.answer(place, status, 0, undefined);
  }

  /** The 53 upper bits of the timestamp: steps of two microseconds, which a number holds. */
  private optionsOf({ timestampHigh, timestampLow }: RiocOperation): { timestamp: number } | undefined {
    if (!this.terms.isStrict) return undefined;
    return { timestamp: timestampHigh * 2 ** 21 + (timestampLow >>> 11) };
  }
}

/** A record that another protocol has made larger than this one can carry is left out, as `GET` refuses it. */
function fits({ value }: ServedRecord): boolean {
  return value.length <= VALUE_SIZE_MAX && (typeof value !== "string" || sizeOf(value) <= VALUE_SIZE_MAX);
}

/** Records back to back, as a range's reply has them. */
function bodyOf(records: readonly ServedRecord[]): Uint8Array {
  const parts = records.map(({ key, value }) => [bytesOf(key), bytesOf(value)] as const);
  const size = parts.reduce((sum, [key, value]) => sum + RANGE_RECORD_OVERHEAD + key.length + value.length, 0);
  const body = new Uint8Array(size);
  const view = new DataView(body.buffer);
  let at = 0;
  for (const [key, value] of parts) {
    view.setUint16(at, key.length, true);
    body.set(key, at + 2);
    view.setBigUint64(at + 2 + key.length, BigInt(value.length), true);
    body.set(value, at + RANGE_RECORD_OVERHEAD + key.length);
    at += RANGE_RECORD_OVERHEAD + key.length + value.length;
  }
  return body;
}

function bytesOf(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? encoder.encode(text) : text;
}

const OF_CODE: Partial<Record<CairnError["code"], Status>> = {
  KEY_SIZE: Status.PARAM,
  NOT_A_NUMBER: Status.PARAM,
  INVALID_ARGUMENT: Status.PARAM,
  VALUE_SIZE: Status.OVERFLOW,
  OUT_OF_RANGE: Status.OVERFLOW,
  STALE_TIMESTAMP: Status.STALE,
  OUT_OF_MEMORY: Status.MEMORY,
  NO_SPACE: Status.DEVICE,
  CONFLICT: Status.BUSY,
};

/** What an error is in the protocol. */
function statusOf(error: unknown): Status {
  if (error instanceof CairnError) return OF_CODE[error.code] ?? Status.IO;
  const { status, cause } = failureOf(error);
  if (cause instanceof CairnError) return OF_CODE[cause.code] ?? Status.IO;
  if (status === 403) return Status.PARAM;
  if (status === 400 || status === 413) return Status.OVERFLOW;
  if (status === 429) return Status.BUSY;
  return status === 409 ? Status.STALE : Status.IO;
}
