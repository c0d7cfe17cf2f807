/**
 * What leaves a connection: gathered within a turn, so that it goes in one piece; counted while it waits; given up on when nobody takes it.
 */
import type { Connection } from "./sockets.ts";

/** Bytes of answers that wait for the other side, before more of them is made. */
export const HIGH_WATER = 131_072;

export class Outflow {
  private readonly connection: Connection;
  /** Told of so many more, or fewer, bytes that wait: false where that is too much in all. */
  private readonly waits: (size: number) => boolean;
  private text = "";
  /** Bytes given to the connection, and how many of them had left it at the last look. */
  private written = 0;
  private leftMark = 0;
  private stalledSince = 0;
  /** Bytes that are known to wait here. */
  private waiting = 0;
  private wake: (() => void) | undefined;

  constructor(connection: Connection, waits: (size: number) => boolean) {
    this.connection = connection;
    this.waits = waits;
  }

  put(text: string): void {
    this.text += text;
  }

  putBytes(bytes: Uint8Array): void {
    if (this.text === "" || this.text.length + bytes.length > HIGH_WATER) {
      this.flush();
      this.written += bytes.length;
      this.connection.write(bytes);
      return;
    }
    // One piece, and so one call of the system. What was put before may hold more than ASCII.
    const before = Buffer.from(this.text);
    this.text = "";
    this.written += before.length + bytes.length;
    this.connection.write(Buffer.concat([before, bytes]));
  }

  flush(): void {
    if (this.text === "") return;
    const { text } = this;
    this.text = "";
    this.written += text.length;
    this.connection.write(text);
  }

  /** Whether so much waits that no more should be made. */
  get isHigh(): boolean {
    if (this.text.length > HIGH_WATER) this.flush();
    return this.connection.buffered > HIGH_WATER;
  }

  /** Resolves when what waits has left, or never will. */
  left(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  drained(): void {
    const { wake } = this;
    this.wake = undefined;
    wake?.();
    if (this.waiting > 0) this.account();
  }

  /** Tells how much waits; ends the connection where that is too much. */
  account(): void {
    const waiting = this.connection.buffered;
    const more = waiting - this.waiting;
    this.waiting = waiting;
    if (more !== 0 && !this.waits(more)) this.connection.destroy();
  }

  closed(): void {
    this.text = "";
    if (this.waiting > 0) this.waits(-this.waiting);
    this.waiting = 0;
    this.drained();
  }

  /** Whether the other side has taken nothing of what waits for it, for `ms`. */
  isStalled(now: number, ms: number): boolean {
    const waiting = this.connection.buffered;
    const left = this.written - waiting;
    if (waiting === 0 || left !== this.leftMark || this.stalledSince === 0) {
      this.leftMark = left;
      this.stalledSince = waiting === 0 ? 0 : now;
      return false;
    }
    return now - this.stalledSince > ms;
  }
}
