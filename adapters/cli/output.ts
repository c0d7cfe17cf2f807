/**
 * Standard output: data only, in large writes, never faster than its reader.
 *
 * 1. `write` keeps what it is given until `OUTPUT_BUFFER_SIZE` characters have come together; `flush` hands them on.
 * 2. A reader that goes away (`| head`) sets `closed`. That is no failure: the command stops and ends well.
 */
import type { Writable } from "node:stream";
import { CommandFailure } from "./failure.ts";

const OUTPUT_BUFFER_SIZE = 64 * 1024;

export class Output {
  /** Whether the reader is gone. Nothing more is written then. */
  closed = false;

  readonly #stream: Writable;
  #failure: Error | undefined;
  #pending: string[] = [];
  #pendingSize = 0;

  constructor(stream: Writable) {
    this.#stream = stream;
    stream.on("error", (error: NodeJS.ErrnoException) => {
      this.closed = true;
      if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") this.#failure = error;
    });
  }

  /** Whether people read it. */
  get isTerminal(): boolean {
    return (this.#stream as Writable & { isTTY?: boolean }).isTTY === true;
  }

  /** Adds `text`. Returns whether enough has come together that the caller should await `flush`. */
  write(text: string): boolean {
    this.#pending.push(text);
    this.#pendingSize += text.length;
    return this.#pendingSize >= OUTPUT_BUFFER_SIZE;
  }

  /** Adds `bytes` as they are, after all that was added before. */
  async writeBytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    await this.#send(bytes);
  }

  /** Resolves once the stream has taken all that was written. Throws `CommandFailure` when it cannot. */
  async flush(): Promise<void> {
    const text = this.#pending.join("");
    this.#pending = [];
    this.#pendingSize = 0;
    if (text !== "") await this.#send(text);
    if (this.#failure) throw new CommandFailure(`standard output cannot be written: ${this.#failure.message}`);
  }

  async #send(chunk: string | Uint8Array): Promise<void> {
    if (this.closed) return;
    await new Promise<void>((resolve) => this.#stream.write(chunk, () => resolve()));
  }
}
