/** The rates that keys and certificates have of their own, within those of their tenant. Only such as have one cost anything here. */
import type { KeyLimits } from "../principal.ts";
import { Bucket } from "./bucket.ts";

interface Rate {
  requestsPerSecond: number;
  burst: number;
  bucket: Bucket;
}

export class KeyRates {
  private readonly rates = new Map<string, Rate>();

  /** The bucket of a key: the same for its tokens, its connections and all protocols. Full again where its limits have changed. */
  of(id: string, { requestsPerSecond, burst }: KeyLimits, now: number): Bucket {
    const known = this.rates.get(id);
    if (known?.requestsPerSecond === requestsPerSecond && known.burst === burst) return known.bucket;
    const bucket = new Bucket(requestsPerSecond, burst, now);
    this.rates.set(id, { requestsPerSecond, burst, bucket });
    return bucket;
  }

  /** Forgets those that a new one would do as well for. */
  sweep(now: number): void {
    for (const [id, { bucket }] of this.rates) if (bucket.isFull(now)) this.rates.delete(id);
  }
}
