/** What partial updates deleted, for notifications: kept for a while, by version, for a watch to fetch. */

/** Notes at most, and characters of them: beyond, the oldest is forgotten. */
const COUNT_MAX = 16_384;
const LENGTH_MAX = 16 * 1024 * 1024;

interface Note {
  key: string;
  shown: string;
}

/** Notes of one store. A version is one commit of the whole store, so it names one note. */
export class PatchNotes {
  private readonly notes = new Map<number, Note>();
  private length = 0;
  private readonly onAdd: ((version: number, key: string, shown: string) => void) | undefined;

  /** `onAdd` is told of each note that is added. */
  constructor(onAdd?: (version: number, key: string, shown: string) => void) {
    this.onAdd = onAdd;
  }

  /** Keeps what the document of `key` is to be shown as at `version`. */
  add(version: number, key: string, shown: string): void {
    const { notes } = this;
    notes.set(version, { key, shown });
    this.length += key.length + shown.length;
    this.onAdd?.(version, key, shown);
    for (const [oldest, note] of notes) {
      if (notes.size <= COUNT_MAX && this.length <= LENGTH_MAX) break;
      notes.delete(oldest);
      this.length -= note.key.length + note.shown.length;
    }
  }

  /** What was kept; `undefined` where nothing was deleted, or where it was too long ago. */
  find(version: number, key: string): string | undefined {
    const note = this.notes.get(version);
    return note?.key === key ? note.shown : undefined;
  }
}
