/** The shell's history: a file in the user's state folder, one line a command. Without that file the shell works the same. */
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** So many lines are kept. */
export const HISTORY_COUNT_MAX = 1000;

export class History {
  /** Newest line first, as node:readline wants it. */
  readonly lines: string[] = [];
  readonly #path: string;

  constructor() {
    const { XDG_STATE_HOME } = process.env;
    this.#path = join(XDG_STATE_HOME || join(homedir(), ".local", "state"), "cairn", "history");
    try {
      const kept = readFileSync(this.#path, "utf8").split("\n").filter(Boolean);
      this.lines = kept.slice(-HISTORY_COUNT_MAX).reverse();
      if (kept.length > 2 * HISTORY_COUNT_MAX) this.#rewrite();
    } catch {
      // A first run, or a file that may not be read.
    }
  }

  /** Adds a line to the file. Values may be secrets: nobody else may read it. */
  add(line: string): void {
    if (line.trim() === "") return;
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
      appendFileSync(this.#path, `${line}\n`, { mode: 0o600 });
    } catch {
      // A home that cannot be written costs the history, nothing else.
    }
  }

  #rewrite(): void {
    writeFileSync(this.#path, `${[...this.lines].reverse().join("\n")}\n`, { mode: 0o600 });
  }
}
