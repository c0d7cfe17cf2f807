/**
 * The audit log: who was let in and who was not, tokens, keys, and what admins do; one line of JSON each.
 *
 * 1. Never a secret, a token or a value; of records at most a shortened key.
 * 2. A disk that is slow or full holds nothing up: lines wait in bounded memory, beyond that they are dropped, and a line says
 *    how many.
 * 3. What strangers can cause has a rate of its own, so that nobody fills a disk by guessing.
 */
import { appendFile } from "node:fs/promises";
import type { AuditEntry } from "../config.ts";

/** Characters of lines that wait for the disk. */
const QUEUE_SIZE_MAX = 1_048_576;
/** Lines a second, and at once after a pause, of what was refused. */
const REFUSED_PER_SECOND = 10;
const REFUSED_BURST = 50;

/** How long closing waits for the disk. */
const CLOSE_MS = 5_000;

type Fields = Record<string, unknown>;

export class Audit {
  readonly #path: string | undefined;
  readonly #take: ((entry: AuditEntry) => void) | undefined;
  readonly #log: (level: "error", message: string) => void;
  #queue: string[] = [];
  #queueSize = 0;
  #droppedCount = 0;
  #isFailing = false;
  #writing: Promise<void> | undefined;
  readonly #failures = new Rate();
  readonly #denials = new Rate();

  /** `sink`: a path, what takes entries, or nothing. */
  constructor(
    sink: string | ((entry: AuditEntry) => void) | undefined,
    log: (level: "error", message: string) => void,
  ) {
    this.#path = typeof sink === "string" ? sink : undefined;
    this.#take = typeof sink === "function" ? sink : undefined;
    this.#log = log;
  }

  /** Adds an entry. It is written soon, in order; nothing waits for it. */
  record(event: string, fields: Fields = {}): void {
    if (this.#path === undefined && this.#take === undefined) return;
    const entry: AuditEntry = { time: new Date().toISOString(), event, ...fields };
    if (this.#take !== undefined) {
      try {
        this.#take(entry);
      } catch (error) {
        this.#failing(`The audit log's function threw: ${(error as Error).message}`);
      }
      return;
    }
    this.#enqueue(`${JSON.stringify(entry)}\n`);
  }

  /** What somebody does to the store or the server as a whole. */
  admin(operation: string, fields: Fields = {}): void {
    this.record("admin", { operation, ...fields });
  }

  /** A key, token or certificate that does not count. */
  failed(fields: Fields): void {
    this.#limited(this.#failures, "auth.failed", fields);
  }

  /** Something that a role or token does not allow. */
  denied(fields: Fields): void {
    this.#limited(this.#denials, "access.denied", fields);
  }

  /** Writes out what waits, within five seconds. */
  async close(): Promise<void> {
    for (const [rate, event] of [
      [this.#failures, "auth.failed"],
      [this.#denials, "access.denied"],
    ] as const) {
      const count = rate.suppressedCount;
      rate.suppressedCount = 0;
      if (count > 0) this.record(event, { suppressed: count });
    }
    if (this.#writing === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    // What is written at present takes what waits along.
    await Promise.race([this.#writing, late]);
    clearTimeout(timer);
  }

  #limited(rate: Rate, event: string, fields: Fields): void {
    if (!rate.take()) {
      rate.suppressedCount += 1;
      return;
    }
    const suppressed = rate.suppressedCount;
    rate.suppressedCount = 0;
    this.record(event, suppressed === 0 ? fields : { ...fields, suppressed });
  }

  #enqueue(line: string): void {
    if (this.#queueSize + line.length > QUEUE_SIZE_MAX) {
      this.#droppedCount += 1;
      return;
    }
    this.#queue.push(line);
    this.#queueSize += line.length;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Opens the file for each piece, so that whoever rotates logs may move it away. */
  async #write(): Promise<void> {
    // Lines of one turn go together.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const text = this.#queue.join("");
      const dropped = this.#droppedCount;
      this.#queue = [];
      this.#queueSize = 0;
      this.#droppedCount = 0;
      const told =
        dropped === 0
          ? ""
          : `${JSON.stringify({ time: new Date().toISOString(), event: "audit.dropped", count: dropped })}\n`;
      try {
        await append(this.#path as string, text + told);
        this.#isFailing = false;
      } catch (error) {
        this.#droppedCount += dropped + text.split("\n").length - 1;
        this.#failing(`The audit log cannot be written: ${(error as Error).message}`);
      }
    }
  }

  /** Says so once, until it works again. */
  #failing(message: string): void {
    if (!this.#isFailing) this.#log("error", message);
    this.#isFailing = true;
  }
}

/** Deno's own calls: those that it has for Node's names hold the whole program up while the disk does. */
interface DenoFiles {
  writeTextFile(path: string, text: string, options: { append: boolean; mode: number }): Promise<void>;
}

function append(path: string, text: string): Promise<void> {
  const { Deno: deno } = globalThis as { Deno?: DenoFiles };
  return deno === undefined
    ? appendFile(path, text, { mode: 0o600 })
    : deno.writeTextFile(path, text, { append: true, mode: 0o600 });
}

/** A bucket of tokens. */
class Rate {
  suppressedCount = 0;
  #left = REFUSED_BURST;
  #atMs = performance.now();

  take(): boolean {
    const now = performance.now();
    this.#left = Math.min(REFUSED_BURST, this.#left + ((now - this.#atMs) / 1000) * REFUSED_PER_SECOND);
    this.#atMs = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
