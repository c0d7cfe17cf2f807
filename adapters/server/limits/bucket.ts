/** A token bucket: so many a second, and so many at once after a rest. */
export class Bucket {
  private tokens: number;
  private at: number;
  private readonly perMs: number;
  private readonly burst: number;

  constructor(perSecond: number, burst: number, now: number) {
    this.perMs = perSecond / 1000;
    this.burst = Math.max(1, burst);
    this.tokens = this.burst;
    this.at = now;
  }

  /** Milliseconds until `cost` is there; 0: it is. More than a burst is there when the bucket is full. */
  wait(cost: number, now: number): number {
    if (now > this.at) {
      this.tokens = Math.min(this.burst, this.tokens + (now - this.at) * this.perMs);
      this.at = now;
    }
    const missing = Math.min(cost, this.burst) - this.tokens;
    return missing <= 0 ? 0 : missing / this.perMs;
  }

  /** Takes `cost`, what is missing from what is still to come. */
  take(cost: number): void {
    this.tokens -= cost;
  }

  /** Whether nothing was taken lately: a new one would do as well. */
  isFull(now: number): boolean {
    return this.wait(this.burst, now) === 0;
  }
}
