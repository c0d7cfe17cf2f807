/**
 * What the server has done lately, by the second: operations, and how long they took. For the plots of the console.
 *
 * Durations are counted in buckets, four to each doubling of a microsecond, so that a quantile is at most a quarter too long. What is
 * kept is bounded: 128 buckets of each of 180 seconds. Noting an operation reads no clock: whoever owns this calls `tick` now and then.
 */
const SECONDS = 180;
const BUCKETS = 128;

/** One second. */
export interface ActivitySecond {
  /** When it began: milliseconds since the epoch. */
  at: number;
  /** Operations that ended in it. */
  count: number;
  /** How long half of them took at most, 99 of 100, and the longest: milliseconds; 0 where there were none. */
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

/** What one process knows of a second, for a sum over several. */
export interface RawSecond {
  /** The second since the epoch. */
  second: number;
  maxMs: number;
  /** Buckets that are not empty, with their counts. */
  buckets: [bucket: number, count: number][];
}

/** The last seconds of a server. */
export class Activity {
  /** Which second a place holds, since the clock's zero; -1: none. */
  private readonly seconds = new Float64Array(SECONDS).fill(-1);
  private readonly counts = new Uint32Array(SECONDS);
  private readonly longest = new Float64Array(SECONDS);
  private readonly buckets = new Uint32Array(SECONDS * BUCKETS);
  private readonly now: () => number;
  /** Of the last tick. */
  private second: number;

  /** `now`: a clock in milliseconds that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.now = now;
    this.second = Math.floor(now() / 1000);
  }

  /** Looks at the clock: operations are of this second until the next tick. */
  tick(): void {
    this.second = Math.floor(this.now() / 1000);
  }

  /** An operation has ended, after so many milliseconds. */
  took(ms: number): void {
    const { second } = this;
    const place = second % SECONDS;
    if (this.seconds[place] !== second) this.begin(place, second);
    (this.counts[place] as number)++;
    (this.buckets[place * BUCKETS + bucketOf(ms)] as number)++;
    if (ms > (this.longest[place] as number)) this.longest[place] = ms;
  }

  /** The last `count` seconds, the present one left out, oldest first; those without operations are there. */
  list(count: number): ActivitySecond[] {
    const ms = this.now();
    const present = Math.floor(ms / 1000);
    const epoch = Date.now() - ms;
    const list: ActivitySecond[] = [];
    for (let second = present - Math.min(count, SECONDS - 1); second < present; second++) {
      if (second < 0) continue;
      list.push({ at: Math.round(epoch + second * 1000), ...this.figures(second) });
    }
    return list;
  }

  /** The last `count` seconds that had operations, for `summedSeconds`. */
  raw(count: number): RawSecond[] {
    const epoch = Date.now() - this.now();
    const present = Math.floor(this.now() / 1000);
    const seconds: RawSecond[] = [];
    for (let second = Math.max(0, present - Math.min(count, SECONDS - 1)); second < present; second++) {
      const place = second % SECONDS;
      if (this.seconds[place] !== second || this.counts[place] === 0) continue;
      const buckets: RawSecond["buckets"] = [];
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        const times = this.buckets[place * BUCKETS + bucket] as number;
        if (times > 0) buckets.push([bucket, times]);
      }
      const at = Math.round(epoch / 1000) + second;
      seconds.push({ second: at, maxMs: this.longest[place] as number, buckets });
    }
    return seconds;
  }

  private begin(place: number, second: number): void {
    this.seconds[place] = second;
    this.counts[place] = 0;
    this.longest[place] = 0;
    this.buckets.fill(0, place * BUCKETS, (place + 1) * BUCKETS);
  }

  private figures(second: number): Omit<ActivitySecond, "at"> {
    const place = second % SECONDS;
    if (this.seconds[place] !== second) return { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 };
    const buckets = this.buckets.subarray(place * BUCKETS, (place + 1) * BUCKETS);
    return figuresOf(buckets, this.counts[place] as number, this.longest[place] as number);
  }
}

function figuresOf(buckets: Uint32Array, count: number, maxMs: number): Omit<ActivitySecond, "at"> {
  const quantile = (share: number): number => {
    let left = Math.max(1, Math.ceil(count * share));
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= buckets[bucket] as number;
      if (left <= 0) return Math.min(maxMs, endOf(bucket));
    }
    return maxMs;
  };
  return { count, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs };
}

/** The last `count` seconds of several processes, which begin them at different moments: a second of the sum is one by the clock, about. */
export function summedSeconds(lists: readonly RawSecond[][], count: number): ActivitySecond[] {
  const present = Math.floor(Date.now() / 1000);
  const sums = new Map<number, { buckets: Uint32Array; count: number; maxMs: number }>();
  for (const { second, maxMs, buckets } of lists.flat()) {
    const sum = sums.get(second) ?? { buckets: new Uint32Array(BUCKETS), count: 0, maxMs: 0 };
    sums.set(second, sum);
    sum.maxMs = Math.max(sum.maxMs, maxMs);
    for (const [bucket, times] of buckets) {
      (sum.buckets[bucket] as number) += times;
      sum.count += times;
    }
  }
  return Array.from({ length: Math.min(count, SECONDS - 1) }, (_, at): ActivitySecond => {
    const second = present - Math.min(count, SECONDS - 1) + at;
    const sum = sums.get(second);
    const figures =
      sum === undefined ? { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 } : figuresOf(sum.buckets, sum.count, sum.maxMs);
    return { at: second * 1000, ...figures };
  });
}

/** The bucket of a duration: the place of its highest bit in microseconds, and the two bits behind it. */
function bucketOf(ms: number): number {
  // 4 is the least that has two bits behind the highest; 2^31 µs are 36 minutes.
  const quarters = Math.min(2_147_483_647, Math.max(4, Math.round(ms * 4000)));
  const power = 31 - Math.clz32(quarters);
  return power * 4 + ((quarters >> (power - 2)) & 3);
}

/** Where a bucket ends, in milliseconds. */
function endOf(bucket: number): number {
  const power = bucket >> 2;
  return (2 ** power * (1 + ((bucket & 3) + 1) / 4)) / 4000;
}
