/** What was fetched, kept on disk: bounded in size, fresh for a time, and still there after a restart. */
import { Cache, type CacheStats } from "cairn-kv/cache";

/** Options of `CachedFetch.open`. */
export interface CachedFetchOptions {
  /** The most bytes that are kept; what was used longest ago makes room. */
  maxBytes: number;
  /** How long a response is fresh, in milliseconds. */
  freshMs: number;
}

/** Fetches text, each address once while it is fresh, however many ask at the same time. */
export class CachedFetch {
  private readonly cache: Cache<string>;

  private constructor(cache: Cache<string>) {
    this.cache = cache;
  }

  static async open(path: string, { maxBytes, freshMs }: CachedFetchOptions): Promise<CachedFetch> {
    return new CachedFetch(await Cache.open<string>(path, { maxBytes, ttl: freshMs, valueEncoding: "utf8" }));
  }

  /** The text at an address. Rejects when the answer is no success; that is not kept. */
  text(url: string): Promise<string> {
    return this.cache.getOrSet(url, async () => {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`${url} answered ${response.status}`);
      return response.text();
    });
  }

  /** Counts since it was opened, and what is kept. */
  stats(): CacheStats {
    return this.cache.stats();
  }

  /** Closes the store, with everything durable. */
  close(): Promise<void> {
    return this.cache.close();
  }
}
