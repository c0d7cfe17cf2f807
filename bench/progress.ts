/** Progress of a long run, on standard error: one line that is rewritten on a terminal, else a line every few seconds. */

const QUIET_MS = 10_000;

/** Counts steps towards a total that is known from the start. */
export class Progress {
  #done = 0;
  #total = 0;
  #shownAtMs = Number.NEGATIVE_INFINITY;
  readonly #startMs = performance.now();

  /** Announces `count` further steps. */
  expect(count: number): void {
    this.#total += count;
  }

  /** A step begins; `what` says which. */
  step(what: string): void {
    this.#done += 1;
    const now = performance.now();
    const seconds = Math.round((now - this.#startMs) / 1000);
    const line = `bench ${this.#done}/${this.#total}  ${seconds} s  ${what}`;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\u001b[K${line.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    } else if (now - this.#shownAtMs >= QUIET_MS) {
      process.stderr.write(`${line}\n`);
      this.#shownAtMs = now;
    }
  }

  /** Clears the line, for a table to follow. */
  pause(): void {
    if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  }
}
