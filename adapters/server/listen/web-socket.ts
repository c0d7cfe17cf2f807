/**
 * A connection that has become a WebSocket: the `Socket` of wire.ts over frames.
 *
 * 1. What is sent within one turn leaves in one piece.
 * 2. Whoever does not take what is sent is dropped: over `sendQueueBytes` the conversation ends with 1013, and what waits is given up.
 * 3. A side that says nothing is pinged, and gone when that brings nothing either.
 */
import type { Socket, SocketSession, UpgradeAccepted } from "../wire.ts";
import {
  BINARY,
  CLOSE,
  closeCodeOf,
  FrameFailure,
  FrameReader,
  type FrameSink,
  headSizeOf,
  PING,
  PONG,
  TEXT,
  writeHead,
} from "./frames.ts";
import type { Connection, ConnectionHandler } from "./sockets.ts";

/** How long the other side may take to answer a close. */
const CLOSE_MS = 2_000;
/** Frames are written side by side into pieces of this size. */
const SLAB_SIZE = 65_536;
/** Bytes that wait for the other side, above which its own messages are not read. */
const HIGH_WATER = 1_048_576;
const REASON_SIZE_MAX = 123;

export interface WebSocketServing {
  /** Bytes of a message, and of what may wait to be sent. */
  readonly frameBytes: number;
  readonly sendQueueBytes: number;
  /** Silence after which a ping is sent, and the connection given up. */
  readonly idleMs: number;
  readonly clock: { now: number };
  /** Bytes of messages that are not whole yet: false where that is too much. */
  keeps(tenant: string, size: number): boolean;
  gone(socket: WebSocketConnection): void;
}

let slab = Buffer.alloc(0);
let slabUsed = 0;

/** Room for `size` bytes. */
function room(size: number): Buffer {
  if (size > SLAB_SIZE / 4) return Buffer.allocUnsafeSlow(size);
  if (slabUsed + size > slab.length) {
    slab = Buffer.allocUnsafeSlow(SLAB_SIZE);
    slabUsed = 0;
  }
  const piece = slab.subarray(slabUsed, slabUsed + size);
  slabUsed += size;
  return piece;
}

export class WebSocketConnection implements ConnectionHandler, Socket, FrameSink {
  readonly tenant: string;
  private readonly connection: Connection;
  private readonly serving: WebSocketServing;
  private readonly reader: FrameReader;
  private session: SocketSession | undefined;
  /** Frames of this turn. */
  private pieces: Buffer[] = [];
  private piecesSize = 0;
  private isFlushDue = false;
  private isReading = false;
  private isPaused = false;
  private isChoked = false;
  private hasSentClose = false;
  private isOver = false;
  private heardAt: number;
  private isPinged = false;
  private closeBy = Number.POSITIVE_INFINITY;
  // A session may have words of its own for it.
  private readonly onRevoked = (): void => queueMicrotask(() => this.close(1008, "the key was revoked"));
  private readonly revoked: AbortSignal;

  constructor(connection: Connection, serving: WebSocketServing, accepted: UpgradeAccepted) {
    this.connection = connection;
    this.serving = serving;
    this.tenant = accepted.principal.tenant;
    this.reader = new FrameReader(serving.frameBytes, this);
    this.heardAt = serving.clock.now;
    this.revoked = accepted.principal.revoked;
    this.revoked.addEventListener("abort", this.onRevoked);
  }

  /** Begins the session, with what came behind the request. */
  begin(accepted: UpgradeAccepted, rest: Buffer): void {
    this.session = accepted.begin(this);
    if (this.revoked.aborted) this.onRevoked();
    if (rest.length > 0) this.data(rest);
  }

  // What comes.

  get isFull(): boolean {
    return this.isPaused || this.isChoked || this.isOver;
  }

  data(chunk: Buffer): void {
    this.heardAt = this.serving.clock.now;
    this.isPinged = false;
    if (this.isOver) return;
    this.read(() => this.reader.take(chunk));
  }

  private read(step: () => void): void {
    this.isReading = true;
    try {
      step();
    } catch (error) {
      const code = error instanceof FrameFailure ? error.code : 1011;
      const reason = error instanceof FrameFailure ? error.message : "server error";
      this.close(code, reason);
      // What the client says from here on cannot be read: its own close neither.
      this.finish();
    }
    this.isReading = false;
    this.flush();
  }

  message(content: string | Uint8Array): void {
    if (this.hasSentClose) return;
    this.session?.message(content);
    if (this.piecesSize > HIGH_WATER) this.flush();
    if (this.connection.buffered > HIGH_WATER && !this.isChoked) {
      this.isChoked = true;
      this.connection.pause();
    }
  }

  control(opcode: number, payload: Buffer): void {
    if (opcode === PING && !this.hasSentClose) this.queue(PONG, payload);
    else if (opcode === CLOSE) {
      const code = closeCodeOf(payload);
      if (!this.hasSentClose) {
        this.hasSentClose = true;
        this.queue(CLOSE, code === 1005 ? Buffer.alloc(0) : payload.subarray(0, 2));
      }
      this.finish();
    }
  }

  keeps(size: number): boolean {
    return this.serving.keeps(this.tenant, size);
  }

  // What goes.

  send(frame: string | Uint8Array): void {
    if (this.hasSentClose || this.isOver) return;
    if (typeof frame === "string") {
      const size = Buffer.byteLength(frame);
      const head = headSizeOf(size);
      const piece = room(head + size);
      writeHead(piece, 0, TEXT, size);
      if (size === frame.length) piece.write(frame, head, "latin1");
      else piece.write(frame, head, "utf8");
      this.add(piece);
    } else this.queue(BINARY, frame);
    if (this.bufferedBytes <= this.serving.sendQueueBytes) return;
    // What waits would only grow: the close goes behind it, and both are given up when it does not leave soon.
    this.close(1013, "messages are not taken fast enough");
  }

  private queue(opcode: number, payload: Uint8Array): void {
    if (this.isOver) return;
    const head = headSizeOf(payload.length);
    const piece = room(head + payload.length);
    writeHead(piece, 0, opcode, payload.length);
    piece.set(payload, head);
    this.add(piece);
  }

  private add(piece: Buffer): void {
    const last = this.pieces[this.pieces.length - 1];
    if (last !== undefined && last.buffer === piece.buffer && last.byteOffset + last.length === piece.byteOffset) {
      this.pieces[this.pieces.length - 1] = Buffer.from(last.buffer, last.byteOffset, last.length + piece.length);
    } else this.pieces.push(piece);
    this.piecesSize += piece.length;
    if (this.isReading || this.isFlushDue) return;
    this.isFlushDue = true;
    queueMicrotask(() => {
      this.isFlushDue = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.piecesSize === 0) return;
    const { pieces } = this;
    this.pieces = [];
    this.piecesSize = 0;
    for (const piece of pieces) this.connection.write(piece);
  }

  get bufferedBytes(): number {
    return this.connection.buffered + this.piecesSize;
  }

  close(code: number, reason: string): void {
    if (this.hasSentClose || this.isOver) return;
    let text = Buffer.from(reason);
    if (text.length > REASON_SIZE_MAX) text = text.subarray(0, REASON_SIZE_MAX - 3);
    const payload = Buffer.alloc(2 + text.length);
    payload.writeUInt16BE(code, 0);
    text.copy(payload, 2);
    this.hasSentClose = true;
    this.closeBy = this.serving.clock.now + CLOSE_MS;
    this.queue(CLOSE, payload);
    // Its answer is to be heard.
    if (this.isPaused || this.isChoked) {
      this.isPaused = false;
      this.isChoked = false;
      this.connection.resume();
    }
    this.endSession();
  }

  terminate(): void {
    this.connection.destroy();
  }

  pause(): void {
    if (this.isPaused || this.isOver) return;
    this.isPaused = true;
    if (!this.isChoked) this.connection.pause();
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.goOn();
  }

  private goOn(): void {
    if (this.isFull) return;
    this.connection.resume();
    // Within a message the reader goes on by itself.
    if (!this.isReading) this.read(() => this.reader.resume());
  }

  // The end.

  drained(): void {
    if (this.isChoked) {
      this.isChoked = false;
      this.goOn();
    }
    if (!this.isOver && !this.hasSentClose) this.session?.drained();
  }

  ended(): void {
    this.finish();
  }

  /** Both have closed, or can no more: the rest leaves, and then the connection ends. */
  private finish(): void {
    if (this.isOver) return;
    this.flush();
    this.isOver = true;
    this.closeBy = this.serving.clock.now + CLOSE_MS;
    this.connection.end();
    this.connection.resume();
    this.reader.end();
    this.endSession();
  }

  closed(): void {
    this.isOver = true;
    this.pieces = [];
    this.piecesSize = 0;
    this.reader.end();
    this.endSession();
    this.serving.gone(this);
  }

  private endSession(): void {
    this.revoked.removeEventListener("abort", this.onRevoked);
    const { session } = this;
    this.session = undefined;
    session?.closed();
  }

  /** Called now and then. */
  check(now: number): void {
    if (now > this.closeBy) {
      this.connection.destroy();
      return;
    }
    if (this.isOver || this.hasSentClose) return;
    const silence = now - this.heardAt;
    if (silence <= this.serving.idleMs / 2 || this.isPaused || this.isChoked) {
      if (this.isChoked && silence > this.serving.idleMs) this.connection.destroy();
      return;
    }
    if (this.isPinged && silence > this.serving.idleMs) {
      this.connection.destroy();
      return;
    }
    if (this.isPinged) return;
    this.isPinged = true;
    this.queue(PING, Buffer.alloc(0));
  }
}
