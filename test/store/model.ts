/**
 * The oracle: an ordered map. A key is the string of its encoded bytes, one character a byte, so that the order of
 * JavaScript's strings is the order of the store.
 */

/** Bounds of a range in the model's terms. */
export interface ModelRange {
  gt?: string;
  gte?: string;
  lt?: string;
  lte?: string;
  prefix?: string;
  reverse?: boolean;
  limit?: number;
}

/** An entry, with its key in the model's terms. */
export interface ModelEntry<V> {
  key: string;
  value: V;
}

/** A sorted map. */
export class Model<V> {
  private readonly values = new Map<string, V>();
  private sorted: string[] = [];

  get size(): number {
    return this.values.size;
  }

  get(key: string): V | undefined {
    return this.values.get(key);
  }

  has(key: string): boolean {
    return this.values.has(key);
  }

  set(key: string, value: V): void {
    if (!this.values.has(key)) this.sorted.splice(this.place(key), 0, key);
    this.values.set(key, value);
  }

  delete(key: string): boolean {
    if (!this.values.delete(key)) return false;
    this.sorted.splice(this.place(key), 1);
    return true;
  }

  /** All keys in order; not to be changed. */
  keys(): readonly string[] {
    return this.sorted;
  }

  /** The entries of a range, as they are now. */
  range(range: ModelRange = {}): ModelEntry<V>[] {
    const inside = this.sorted.filter((key) => contains(range, key));
    if (range.reverse) inside.reverse();
    return inside.slice(0, range.limit ?? inside.length).map((key) => ({ key, value: this.values.get(key) as V }));
  }

  /** Deletes a range: how many there were. */
  clear(range: ModelRange = {}): number {
    const kept = this.sorted.filter((key) => !contains(range, key));
    const deleted = this.sorted.length - kept.length;
    for (const key of this.sorted) if (contains(range, key)) this.values.delete(key);
    this.sorted = kept;
    return deleted;
  }

  /** Index of the first key at or above this one. */
  private place(key: string): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.sorted[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function contains(range: ModelRange, key: string): boolean {
  return (
    (range.gt === undefined || key > range.gt) &&
    (range.gte === undefined || key >= range.gte) &&
    (range.lt === undefined || key < range.lt) &&
    (range.lte === undefined || key <= range.lte) &&
    (range.prefix === undefined || key.startsWith(range.prefix))
  );
}
