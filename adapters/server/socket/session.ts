/**
 * One WebSocket that speaks HPKV's protocol: requests in, replies and notifications out.
 *
 * 1. Requests are done in the order in which they came, each before the next is looked at; what waits for the disk is answered when it
 *    is there, so replies may overtake each other.
 * 2. Every request has one reply, which is a JSON object in a text frame; nothing that a client sends ends in an exception.
 * 3. What one connection may hold is bounded. While its operations weigh LOAD_MAX, or its reader leaves more than a quarter of
 *    `sendQueueBytes` unread, requests wait, and nothing more is read; replies that come all the same are held above one half. Past
 *    WAITING_BYTES_MAX, or what the tenant may have in flight, the connection is ended. It is also ended when notifications pass
 *    `sendQueueBytes`, since they cannot wait.
 * 4. After the end nothing is sent. Operations that had begun are still done.
 */
import { setImmediate } from "node:timers";
import { failureOf, ServerFailure } from "../failure.ts";
import type { Notice } from "../feed/notice.ts";
import { numberOf } from "../metrics/operations.ts";
import type { Principal } from "../principal.ts";
import type { Socket, SocketSession } from "../wire.ts";
import type { Origin, SocketContext } from "./context.ts";
import { Requests } from "./operate.ts";
import { failureReply } from "./reply.ts";
import { type Fields, fieldsOf, frameText, GET, messageIdMember, RANGE } from "./request.ts";

/** What operations that wait for the disk may weigh together. */
const LOAD_MAX = 1024;
const WRITE_LOAD = 1;
/** A value that is not in memory may be large. */
const READ_LOAD = 32;
const RANGE_LOAD = 128;
/** Bytes that are always left to the reader: below the mark at which a runtime tells that they have left, it tells nothing. */
const BUFFERED_MIN = 131_072;
/** Characters that a reply may have in any case. */
const LENGTH_MAX_MIN = 1_048_576;
/** Bytes of frames that wait at most, each with FRAME_OVERHEAD. */
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
const FRAME_OVERHEAD = 64;
/** Requests that waited and are done in one turn of the event loop. */
const DONE_PER_TURN = 512;

/** By op: what metrics call it. */
const NUMBERS: readonly (number | undefined)[] = [
  undefined,
  ...["get", "set", "patch", "delete", "range", "atomic"].map((name) => numberOf("websocket", name)),
];
const OTHER = numberOf("websocket", "");

const SERVICE_RESTART = 1012;
const TRY_AGAIN_LATER = 1013;
const DONE = 200;

/** See above. */
export class HpkvSession implements SocketSession {
  private readonly context: SocketContext;
  private readonly principal: Principal;
  private readonly socket: Socket;
  private readonly requests: Requests;
  /** Unread bytes from which on nothing more is done, and from which on replies are held. */
  private readonly bufferedMax: number;
  private readonly holdFrom: number;
  /** Characters of a reply. */
  private readonly lengthMax: number;
  private readonly leave: () => void;
  private waiting: (string | Uint8Array)[] = [];
  private waitingAt = 0;
  private waitingBytes = 0;
  /** Replies that wait for their reader. */
  private held: string[] = [];
  private load = 0;
  private isPaused = false;
  private isScheduled = false;
  private isOver = false;

  /** `leave` is called once, at the end. */
  constructor(context: SocketContext, principal: Principal, origin: Origin, socket: Socket, leave: () => void) {
    this.context = context;
    this.principal = principal;
    this.socket = socket;
    const { access, settings } = context;
    this.requests = new Requests(principal, context.operationsOf(principal.tenant), settings, (verb, key) =>
      access.denied(principal, verb, key, origin),
    );
    const { sendQueueBytes } = settings;
    this.bufferedMax = Math.max(BUFFERED_MIN, sendQueueBytes / 4);
    this.holdFrom = Math.max(BUFFERED_MIN, sendQueueBytes / 2);
    // A character takes up to three bytes.
    this.lengthMax = Math.max(LENGTH_MAX_MIN, sendQueueBytes / 8);
    this.leave = leave;
  }

  message(frame: string | Uint8Array): void {
    if (this.isOver) return;
    if (this.isPaused || this.isFull) this.postpone(frame);
    else this.serve(frame);
  }

  drained(): void {
    let sent = 0;
    for (; sent < this.held.length && this.socket.bufferedBytes < this.holdFrom; sent++) {
      const reply = this.held[sent] as string;
      this.context.limits.release(this.principal.tenant, reply.length);
      this.socket.send(reply);
    }
    if (sent > 0) this.held = this.held.slice(sent);
    this.proceed();
  }

  closed(): void {
    if (this.isOver) return;
    this.isOver = true;
    let size = this.waitingBytes;
    for (const reply of this.held) size += reply.length;
    this.context.limits.release(this.principal.tenant, size);
    this.held = [];
    this.forgetWaiting();
    this.leave();
  }

  /** Tells of a change. */
  notify(notice: Notice): void {
    if (this.isOver) return;
    const { bufferedBytes } = this.socket;
    if (bufferedBytes + notice.frame.length <= this.context.settings.sendQueueBytes) {
      this.socket.send(notice.frame);
      return;
    }
    const { id, tenant } = this.principal;
    this.context.log.warn("a connection that does not read its notifications was ended", { id, tenant, bufferedBytes });
    this.socket.terminate();
    this.closed();
  }

  get isCrowded(): boolean {
    return !this.isOver && this.socket.bufferedBytes > this.holdFrom;
  }

  /** Notifications were lost: the client connects again, and reads what it needs. */
  lost(): void {
    this.end(SERVICE_RESTART, "Notifications were lost. Connect again and read what is there.");
  }

  private end(code: number, reason: string): void {
    if (this.isOver) return;
    this.socket.close(code, reason);
    this.closed();
  }

  private get isFull(): boolean {
    return this.load >= LOAD_MAX || this.held.length > 0 || this.socket.bufferedBytes >= this.bufferedMax;
  }

  /** Keeps a frame until there is room for its reply. */
  private postpone(frame: string | Uint8Array): void {
    const size = frame.length + FRAME_OVERHEAD;
    if (this.waitingBytes + size > WAITING_BYTES_MAX || !this.context.limits.take(this.principal.tenant, size)) {
      this.end(TRY_AGAIN_LATER, "Too many requests wait. Read replies before you send more.");
      return;
    }
    this.waiting.push(frame);
    this.waitingBytes += size;
    if (this.isPaused) return;
    this.isPaused = true;
    this.socket.pause();
  }

  /** Does what waits, as far as there is room, and reads on when nothing does. */
  private proceed(): void {
    if (this.isOver || !this.isPaused || this.isScheduled) return;
    for (let left = DONE_PER_TURN; this.waitingAt < this.waiting.length; left--) {
      if (this.isFull) return;
      if (left === 0) {
        this.isScheduled = true;
        setImmediate(() => {
          this.isScheduled = false;
          this.proceed();
        });
        return;
      }
      const frame = this.waiting[this.waitingAt] as string | Uint8Array;
      this.waitingAt++;
      const size = frame.length + FRAME_OVERHEAD;
      this.waitingBytes -= size;
      this.context.limits.release(this.principal.tenant, size);
      this.serve(frame);
      if (this.isOver) return;
    }
    this.forgetWaiting();
    this.isPaused = false;
    this.socket.resume();
  }

  private forgetWaiting(): void {
    this.waiting = [];
    this.waitingAt = 0;
    this.waitingBytes = 0;
  }

  /** Does what a frame asks for, and sees to its reply. */
  private serve(frame: string | Uint8Array): void {
    let id = "";
    let fields: Fields | undefined;
    let taken = 0;
    const startMs = performance.now();
    const waitSeconds = this.context.limits.request(this.principal);
    try {
      const text = frameText(frame);
      fields = fieldsOf(text);
      id = messageIdMember(fields, text);
      if (waitSeconds > 0) throw new ServerFailure(429, "Rate limit exceeded", waitSeconds);
      // What a `get` holds is its reply, which is sent before anything else is done.
      if (fields.op !== GET) taken = this.take(text.length);
      const answer = this.requests.run(fields, text, id);
      if (typeof answer !== "string") {
        this.await(answer, fields, id, taken, startMs);
        return;
      }
      this.note(fields, this.reply(answer, fields, id), startMs);
    } catch (error) {
      if (taken > 0) this.context.limits.release(this.principal.tenant, taken);
      this.note(fields, this.refuse(error, fields, id), startMs);
    }
  }

  /** Sends a reply when it is there. */
  private await(reply: Promise<string>, fields: Fields, id: string, taken: number, startMs: number): void {
    const { op } = fields;
    const load = op === RANGE ? RANGE_LOAD : op === GET ? READ_LOAD : WRITE_LOAD;
    this.load += load;
    const settle = (status: number): void => {
      this.load -= load;
      if (taken > 0) this.context.limits.release(this.principal.tenant, taken);
      this.note(fields, status, startMs);
      if (this.isPaused) this.proceed();
    };
    reply.then(
      (text) => settle(this.isOver ? DONE : this.reply(text, fields, id)),
      (error: unknown) => settle(this.isOver ? failureOf(error).status : this.refuse(error, fields, id)),
    );
  }

  /** Sends a reply, or keeps it until its reader has taken more of those before it. What its status is. */
  private reply(text: string, fields: Fields, id: string): number {
    if (text.length > this.lengthMax) {
      const message = `The reply would have ${text.length} characters; ${this.lengthMax} may be sent here. Read it over HTTP.`;
      return this.refuse(new ServerFailure(413, message), fields, id);
    }
    if (this.held.length === 0 && this.socket.bufferedBytes < this.holdFrom) {
      this.socket.send(text);
      return DONE;
    }
    if (!this.context.limits.take(this.principal.tenant, text.length)) {
      this.end(TRY_AGAIN_LATER, "Too many replies wait. Read them before you send more.");
      return 429;
    }
    this.held.push(text);
    return DONE;
  }

  private take(size: number): number {
    if (this.context.limits.take(this.principal.tenant, size)) return size;
    throw new ServerFailure(429, "Too much is in flight", 1);
  }

  private refuse(error: unknown, fields: Fields | undefined, id: string): number {
    const failure = failureOf(error);
    const told = failure.status === 409 ? new ServerFailure(409, "Timestamp conflict") : failure;
    if (failure.status >= 500)
      this.context.log.warn("a request over WebSocket failed", { error: String(failure.cause) });
    this.socket.send(failureReply(id, fields, told));
    return failure.status;
  }

  private note(fields: Fields | undefined, status: number, startMs: number): void {
    // Anything else would name a member that all arrays have, or be made text of.
    const operation = typeof fields?.op === "number" ? (NUMBERS[fields.op] ?? OTHER) : OTHER;
    this.context.meter.took(operation, status, performance.now() - startMs, this.principal.tenant);
  }
}
