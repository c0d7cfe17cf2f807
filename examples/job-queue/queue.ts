/** A queue of jobs that survives crashes of whoever works on it: each job is done at least once. */
import { open, type Store, type Tuple } from "cairn-kv";

/** Options of `JobQueue.open`. Times are in milliseconds. */
export interface JobQueueOptions {
  /** How long a job that was taken belongs to its taker; then it is due again. Default a minute. */
  leaseMs?: number;
  /** How often a job is tried. Default 5. */
  attempts?: number;
  /** How long a failed job waits, doubled with each failure. Default a second. */
  backoffMs?: number;
}

/** A job that was taken. */
export interface Job<T> {
  id: number;
  payload: T;
  /** 1 at the first try. */
  attempt: number;
  /** When it is due again if nobody says what became of it. */
  until: number;
}

/** A job that failed as often as it may. */
export interface DeadJob<T> {
  id: number;
  payload: T;
  error: string;
}

interface Stored<T> {
  payload: T;
  attempt: number;
  due: number;
}

/**
 * A job is a record `["job", id]`, and has one place in the order in which jobs are due, `["due", time, id]`. Taking a job
 * moves that place to the end of its lease. So a worker that dies gives its job back without anybody noticing its death.
 */
export class JobQueue<T> {
  private readonly store: Store<Tuple, unknown>;
  private readonly options: Required<JobQueueOptions>;

  private constructor(store: Store<Tuple, unknown>, options: Required<JobQueueOptions>) {
    this.store = store;
    this.options = options;
  }

  static async open<T>(path: string, options: JobQueueOptions = {}): Promise<JobQueue<T>> {
    const store = await open(path, { keyEncoding: "tuple", valueEncoding: "json" });
    return new JobQueue<T>(store, { leaseMs: 60_000, attempts: 5, backoffMs: 1000, ...options });
  }

  /** Adds a job: its number, once it is on stable storage. Jobs that are due are taken in the order of their adding. */
  async add(payload: T, { delayMs = 0 }: { delayMs?: number } = {}): Promise<number> {
    const id = this.store.transaction((tx) => {
      const next = ((tx.get(["next"]) as number | undefined) ?? 0) + 1;
      const due = Date.now() + delayMs;
      tx.set(["next"], next);
      tx.set(["job", next], { payload, attempt: 0, due } satisfies Stored<T>);
      tx.set(["due", due, next], null);
      return next;
    });
    await this.store.flush();
    return id;
  }

  /**
   * The job that is due longest, or `undefined`. Nothing waits for stable storage here: what a crash takes back is that the
   * job was taken, and then it is taken again.
   */
  take(): Job<T> | undefined {
    return this.store.transaction((tx) => {
      const now = Date.now();
      for (const place of tx.keys({ prefix: ["due"], lt: ["due", now + 1] })) {
        const id = place[2] as number;
        const { payload, attempt } = tx.get(["job", id]) as Stored<T>;
        tx.delete(place);
        if (attempt >= this.options.attempts) {
          tx.delete(["job", id]);
          tx.set(["dead", id], { payload, error: "its last taker said nothing" });
          continue;
        }
        const due = now + this.options.leaseMs;
        tx.set(["due", due, id], null);
        tx.set(["job", id], { payload, attempt: attempt + 1, due } satisfies Stored<T>);
        return { id, payload, attempt: attempt + 1, until: due };
      }
      return undefined;
    });
  }

  /** Ends a job: `false` when its lease was over and it was taken anew. Resolves when that is on stable storage. */
  async done(job: Job<T>): Promise<boolean> {
    const ended = this.store.transaction((tx) => {
      if (!isHeld(tx.get(["job", job.id]), job)) return false;
      tx.delete(["job", job.id]);
      tx.delete(["due", job.until, job.id]);
      return true;
    });
    await this.store.flush();
    return ended;
  }

  /** Gives a job back: it is due again after a pause, or dead, and `false` says that it was no longer the caller's. */
  async fail(job: Job<T>, error: string): Promise<"again" | "dead" | false> {
    const { attempts, backoffMs } = this.options;
    const fate = this.store.transaction((tx) => {
      if (!isHeld(tx.get(["job", job.id]), job)) return false;
      tx.delete(["due", job.until, job.id]);
      if (job.attempt >= attempts) {
        tx.delete(["job", job.id]);
        tx.set(["dead", job.id], { payload: job.payload, error });
        return "dead";
      }
      const due = Date.now() + backoffMs * 2 ** (job.attempt - 1);
      tx.set(["job", job.id], { payload: job.payload, attempt: job.attempt, due } satisfies Stored<T>);
      tx.set(["due", due, job.id], null);
      return "again";
    });
    await this.store.flush();
    return fate;
  }

  /** When the next job is due, in milliseconds since 1970, leases of others included; `undefined`: there is none. */
  nextDue(): number | undefined {
    for (const place of this.store.keys({ prefix: ["due"], limit: 1 })) return place[1] as number;
    return undefined;
  }

  /** The jobs that were given up, in the order of their numbers. */
  dead(): DeadJob<T>[] {
    return Array.from(this.store.entries({ prefix: ["dead"] }), ([key, value]) => {
      return { id: key[1] as number, ...(value as { payload: T; error: string }) };
    });
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.store.close();
  }
}

function isHeld(stored: unknown, job: Job<unknown>): boolean {
  return (stored as Stored<unknown> | undefined)?.due === job.until;
}
