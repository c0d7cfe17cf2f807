/** A watch that the owner serves: takes changes ahead of its client, up to a block, so that those of a commit travel together. */
import type { Watch } from "../watch.ts";
import { shownBytes } from "./faces.ts";
import type { WireBytes, WireChanges } from "./wire.ts";

/** Bytes of keys and values after which a block ends; the store's own buffer holds what waits beyond. */
const BLOCK_BYTES_MAX = 1024 * 1024;
const CHANGE_OVERHEAD = 32;

const decoder = new TextDecoder();
const shown = (value: WireBytes): WireBytes => shownBytes(value, false, decoder);

interface Asked {
  resolve(changes: WireChanges): void;
  reject(cause: unknown): void;
}

/** See above. */
export class ServedWatch {
  private readonly watch: Watch<WireBytes, WireBytes>;
  private items: WireChanges["items"] = [];
  private bytes = 0;
  /** All up to this version is in `items`, or was taken. */
  private given: number;
  private isDone = false;
  private failure: { cause: unknown } | undefined;
  private asked: Asked | undefined;
  private taken: (() => void) | undefined;
  private isAnswering = false;
  /** Whether an answer may not be on its way yet: nothing may overtake it. */
  private isSending = false;

  constructor(watch: Watch<WireBytes, WireBytes>) {
    this.watch = watch;
    this.given = watch.version;
    void this.run();
  }

  /** Whether its client has all that is durable. */
  get isIdle(): boolean {
    return this.items.length === 0 && !this.isSending && this.watch.isIdle;
  }

  /** All changes up to this version were given. */
  get version(): number {
    return this.isIdle ? this.watch.version : this.given;
  }

  /** The next changes, when there are any. One call at a time. */
  take(): Promise<WireChanges> {
    return new Promise((resolve, reject) => {
      this.asked = { resolve, reject };
      this.answer();
    });
  }

  /** Ends it. Who waits is told so. */
  stop(): void {
    this.isDone = true;
    this.taken?.();
    void this.watch.return();
    this.answer();
  }

  private async run(): Promise<void> {
    try {
      while (!this.isDone) {
        const { done, value } = await this.watch.next();
        if (done === true) this.isDone = true;
        else {
          const size = value.key.length + (value.value?.length ?? 0);
          this.items.push(shown(value.key), value.value && shown(value.value), value.version);
          this.bytes += size + CHANGE_OVERHEAD;
        }
        this.given = this.watch.version;
        this.answerSoon();
        if (this.bytes < BLOCK_BYTES_MAX || this.isDone) continue;
        await new Promise<void>((resolve) => {
          this.taken = resolve;
        });
      }
    } catch (cause) {
      this.failure = { cause };
      this.answer();
    }
  }

  /** Changes of a group are given in one turn: they share a block. */
  private answerSoon(): void {
    if (this.isAnswering) return;
    this.isAnswering = true;
    setTimeout(() => {
      this.isAnswering = false;
      this.answer();
    });
  }

  private answer(): void {
    const { asked, items } = this;
    if (asked === undefined || (items.length === 0 && !this.isDone && this.failure === undefined)) return;
    this.asked = undefined;
    if (items.length === 0 && this.failure !== undefined) {
      asked.reject(this.failure.cause);
      return;
    }
    this.items = [];
    this.bytes = 0;
    this.isSending = true;
    setTimeout(() => {
      this.isSending = false;
    });
    asked.resolve({ items, version: this.given, done: this.isDone && this.failure === undefined });
    this.taken?.();
    this.taken = undefined;
  }
}
