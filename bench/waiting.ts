/** How long the calling thread waits for a CPU: what of a long call is not the callee's doing. */
import { closeSync, existsSync, openSync, readSync } from "node:fs";

/** How long this thread could have run and had no CPU: the second number of the kernel's `schedstat`. */
export class Waiting {
  readonly #file: number | undefined;
  readonly #bytes = Buffer.alloc(64);

  constructor() {
    const path = `/proc/self/task/${process.pid}/schedstat`;
    this.#file = existsSync(path) ? openSync(path, "r") : undefined;
  }

  /** Nanoseconds so far; always 0 where the kernel does not say. */
  ns(): number {
    if (this.#file === undefined) return 0;
    const size = readSync(this.#file, this.#bytes, 0, this.#bytes.length, 0);
    return Number(this.#bytes.toString("latin1", 0, size).split(" ")[1]);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
  }
}
