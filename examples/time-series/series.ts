/** Measurements over time: written in batches, read by range, summed up by steps, and gone when they are old. */
import { open, type Store, type Tuple } from "cairn-kv";

/** A measurement; `time` in milliseconds since 1970. */
export interface Point {
  metric: string;
  time: number;
  value: number;
}

/** The measurements of one step. */
export interface Summary {
  /** Where the step begins, in milliseconds since 1970. */
  from: number;
  count: number;
  min: number;
  max: number;
  mean: number;
}

/** A point is a record `["point", metric, time]`, so those of a metric lie together, in the order of their times. */
export class Series {
  private readonly store: Store<Tuple, unknown>;
  private readonly keepMs: number;

  private constructor(store: Store<Tuple, unknown>, keepMs: number) {
    this.store = store;
    this.keepMs = keepMs;
  }

  /** Opens a series whose points are kept for `keepMs` milliseconds. */
  static async open(path: string, keepMs: number): Promise<Series> {
    return new Series(await open(path, { keyEncoding: "tuple", valueEncoding: "json" }), keepMs);
  }

  /**
   * Records points, all of them or none; resolves when they are on stable storage. A point that is sent again takes the
   * place of the first, so a sender that got no answer just sends again.
   */
  async record(points: readonly Point[]): Promise<void> {
    await this.store.batch(
      points.map(({ metric, time, value }) => {
        return { type: "set", key: ["point", metric, time], value, expiresAt: time + this.keepMs };
      }),
    );
  }

  /** The newest point of a metric, or `undefined`. */
  last(metric: string): Point | undefined {
    for (const [key, value] of this.store.entries({ prefix: ["point", metric], reverse: true, limit: 1 })) {
      return { metric, time: key[2] as number, value: value as number };
    }
    return undefined;
  }

  /**
   * Sums up the points of a metric from `from` until before `until`, in steps of `stepMs`; steps without points are left
   * out. It walks one snapshot without blocking, so points may come in meanwhile.
   */
  async *summaries(metric: string, from: number, until: number, stepMs: number): AsyncGenerator<Summary, void> {
    let step: Summary | undefined;
    let sum = 0;
    for await (const [key, value] of this.store.entries({
      gte: ["point", metric, from],
      lt: ["point", metric, until],
    })) {
      const point = value as number;
      const start = Math.floor((key[2] as number) / stepMs) * stepMs;
      if (step !== undefined && step.from !== start) {
        yield { ...step, mean: sum / step.count };
        step = undefined;
        sum = 0;
      }
      step ??= { from: start, count: 0, min: point, max: point, mean: 0 };
      step.count += 1;
      step.min = Math.min(step.min, point);
      step.max = Math.max(step.max, point);
      sum += point;
    }
    if (step !== undefined) yield { ...step, mean: sum / step.count };
  }

  /** The metrics that have points: one seek for each, whatever lies between. */
  metrics(): string[] {
    const names: string[] = [];
    const walk = this.store.keys({ prefix: ["point"] });
    for (const key of walk) {
      const metric = key[1] as string;
      names.push(metric);
      walk.seek(["point", metric, Number.POSITIVE_INFINITY]);
    }
    return names;
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.store.close();
  }
}
