/**
 * A keys file that is read again when it changes.
 *
 * The system's notices come at once where there are any; beside them the file is looked at twice a second, since folders of
 * networks and containers give none. Its time and size tell whether it changed, and for some seconds after a change its
 * contents as well: two changes within the clock of a file system look alike.
 */
import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { CairnError } from "../../../store/error.ts";
import { type KeysFile, parseKeysText } from "./keys-format.ts";

/** What a watched file tells. */
export interface WatchedKeysEvents {
  changed(file: KeysFile): void;
  /** The file as it is now is not to be used; the one before goes on to count. Told once for each state. */
  failed(message: string): void;
  warned(message: string): void;
}

const POLL_MS = 500;
/** So long after a change the contents are compared, too. No file system's clock is coarser. */
const COARSE_MS = 3_000;
const FILE_SIZE_MAX = 64 * 1_048_576;

export class WatchedKeys {
  /** The last one that was right. */
  file: KeysFile;
  readonly #path: string;
  readonly #events: WatchedKeysEvents;
  #seen: string;
  #digest: string;
  #isFresh = true;
  #failure = "";
  #isChecking = false;
  #isAsked = false;
  #timer: NodeJS.Timeout;
  #watcher: FSWatcher | undefined;
  #isClosed = false;

  private constructor(path: string, events: WatchedKeysEvents, file: KeysFile, seen: string, digest: string) {
    this.#path = path;
    this.#events = events;
    this.file = file;
    this.#seen = seen;
    this.#digest = digest;
    this.#timer = setInterval(() => void this.#check(), POLL_MS);
    this.#timer.unref();
    this.#watcher = this.#watch();
  }

  /** Reads and watches. Throws `INVALID_ARGUMENT` when the file is not to be read, or wrong. */
  static async open(path: string, events: WatchedKeysEvents): Promise<WatchedKeys> {
    const { state, text, isExposed } = await read(path);
    if (isExposed) {
      events.warned(
        `Others may read the keys file ${path}, and make tokens with it: "chmod 600" keeps it to yourself.`,
      );
    }
    return new WatchedKeys(path, events, parseKeysText(text, path), state, digestOf(text));
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#watcher?.close();
  }

  /** Of the folder: a file that is replaced is another one. */
  #watch(): FSWatcher | undefined {
    try {
      const name = basename(this.#path);
      const watcher = watch(dirname(this.#path), { persistent: false }, (_event, changed) => {
        if (changed === null || changed === name) void this.#check();
      });
      // Then there are the regular looks.
      watcher.on("error", () => watcher.close());
      return watcher;
    } catch {
      return undefined;
    }
  }

  async #check(): Promise<void> {
    if (this.#isChecking) {
      this.#isAsked = true;
      return;
    }
    this.#isChecking = true;
    try {
      do {
        this.#isAsked = false;
        await this.#look();
      } while (this.#isAsked && !this.#isClosed);
    } finally {
      this.#isChecking = false;
    }
  }

  async #look(): Promise<void> {
    try {
      if (!this.#isFresh && (await stateOf(this.#path)).state === this.#seen) return;
      const { state, text, changedMs } = await read(this.#path);
      const digest = digestOf(text);
      const isSame = digest === this.#digest && this.#failure === "";
      this.#seen = state;
      this.#isFresh = Math.abs(Date.now() - changedMs) < COARSE_MS;
      if (isSame || this.#isClosed) return;
      this.file = parseKeysText(text, this.#path);
      const isOther = digest !== this.#digest;
      this.#digest = digest;
      this.#failure = "";
      if (isOther) this.#events.changed(this.file);
    } catch (error) {
      if (this.#isClosed) return;
      const message = (error as Error).message;
      if (message !== this.#failure) {
        this.#events.failed(`The keys file was not taken, the one before still counts: ${message}`);
      }
      this.#failure = message;
    }
  }
}

async function stateOf(path: string): Promise<{ state: string; changedMs: number; isExposed: boolean }> {
  const { mtimeNs, ctimeNs, size, ino, mode } = await stat(path, { bigint: true });
  if (size > FILE_SIZE_MAX) throw unreadable(path, `it has ${size} bytes; ${FILE_SIZE_MAX} are allowed`);
  const isExposed = process.platform !== "win32" && (Number(mode) & 0o077) !== 0;
  return { state: `${mtimeNs} ${ctimeNs} ${size} ${ino}`, changedMs: Number(mtimeNs / 1_000_000n), isExposed };
}

/** Its state is that from before it was read: what changes meanwhile is read again. */
async function read(path: string): Promise<{ state: string; text: string; changedMs: number; isExposed: boolean }> {
  try {
    const before = await stateOf(path);
    return { ...before, text: await readFile(path, "utf8") };
  } catch (error) {
    if (error instanceof CairnError) throw error;
    throw unreadable(path, (error as Error).message);
  }
}

function unreadable(path: string, why: string): CairnError {
  return new CairnError("INVALID_ARGUMENT", "keys", `the keys file ${path} cannot be read: ${why}`);
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}
