/** A queue that is long at times: taking from its front does not move what is behind. */

/** Places before the front that are given back together. */
const GAP_MAX = 1024;

/** See above. */
export class Queue<T> {
  private items: T[] = [];
  private front = 0;

  /** How many are in it. */
  get length(): number {
    return this.items.length - this.front;
  }

  /** The one that has `index` before it. */
  at(index: number): T | undefined {
    return this.items[this.front + index];
  }

  /** Adds one behind all others. */
  push(item: T): void {
    this.items.push(item);
  }

  /** Takes the first `count`. */
  take(count: number): T[] {
    const { items, front } = this;
    const taken = items.slice(front, front + count);
    this.front += taken.length;
    if (this.front === items.length) {
      this.items = [];
      this.front = 0;
    } else if (this.front > GAP_MAX && this.front > items.length / 2) {
      this.items = items.slice(this.front);
      this.front = 0;
    }
    return taken;
  }

  /** Puts some before all others. */
  putFirst(first: readonly T[]): void {
    if (first.length === 0) return;
    this.items = first.concat(this.items.slice(this.front));
    this.front = 0;
  }
}
