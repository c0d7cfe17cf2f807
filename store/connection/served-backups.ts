/** The backups that an owner makes for one client. What they pin is let go when they end, and when the client goes. */
import { CairnError } from "../error.ts";
import type { WireStore } from "./faces.ts";
import type { WireBackup } from "./wire.ts";

/** See above. */
export class ServedBackups {
  private readonly owner: string;
  private readonly readers = new Map<number, ReadableStreamDefaultReader<Uint8Array>>();
  private next = 1;

  constructor(owner: string) {
    this.owner = owner;
  }

  /** How many have not ended. */
  get count(): number {
    return this.readers.size;
  }

  /** Begins one. `INVALID_ARGUMENT`, `VERSION_COMPACTED` and whatever else it cannot begin for. */
  async begin(store: WireStore, since: number | undefined): Promise<WireBackup> {
    const stream = store.backup(since === undefined ? {} : { since });
    const backup = this.next++;
    this.readers.set(backup, stream.getReader());
    try {
      return { backup, owner: this.owner, version: await stream.version };
    } catch (error) {
      this.readers.delete(backup);
      throw error;
    }
  }

  /** The next bytes, the receiver's own, or `undefined` at the end. */
  async part(backup: number): Promise<Uint8Array | undefined> {
    const reader = this.readers.get(backup);
    if (reader === undefined) throw ended();
    try {
      const { value } = await reader.read();
      if (value !== undefined) return value;
    } catch (error) {
      this.readers.delete(backup);
      throw error;
    }
    // One that was cancelled meanwhile reads as if it were at its end.
    if (!this.readers.delete(backup)) throw ended();
    return undefined;
  }

  /** Lets one go. */
  end(backup: number): void {
    const reader = this.readers.get(backup);
    this.readers.delete(backup);
    reader?.cancel().catch(() => undefined);
  }

  /** Lets all go. */
  endAll(): void {
    for (const backup of [...this.readers.keys()]) this.end(backup);
  }
}

function ended(): CairnError {
  return new CairnError("SNAPSHOT_EXPIRED", "backup", "backup: it has ended. Begin a new one.");
}
