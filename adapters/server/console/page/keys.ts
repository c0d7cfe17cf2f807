/** The keys of a tenant, asked for over REST, as `KeyRanks` wants them. */
import type { KeySource } from "../../../page/key-ranks.ts";
import { type Api, base64Of, bytesOfMember } from "./api.ts";

/** Keys of one answer at most: the server gives no more. */
const PAGE_COUNT = 1000;

interface Page {
  records: { key: string; keyEncoding?: string }[];
  truncated: boolean;
}

/** Keys over REST. */
export class RemoteKeys implements KeySource {
  private readonly api: Api;

  constructor(api: Api) {
    this.api = api;
  }

  /** Whether keys have changed is not asked here. */
  async stats(): Promise<{ version: number }> {
    return { version: 0 };
  }

  async count({ prefix, gte, lt }: { prefix: Uint8Array; gte?: Uint8Array; lt?: Uint8Array }): Promise<number> {
    if (lt === undefined) return this.countTo(prefix, gte, undefined);
    // The server's ranges end with a key, not before one.
    if (lt.at(-1) === 0) return this.countTo(prefix, gte, lt.subarray(0, -1));
    const [count, isThere] = await Promise.all([this.countTo(prefix, gte, lt), this.countTo(prefix, lt, lt)]);
    return count - isThere;
  }

  async *keys(range: {
    prefix: Uint8Array;
    gte?: Uint8Array;
    lt?: Uint8Array;
    limit: number;
    reverse?: boolean;
  }): AsyncGenerator<Uint8Array> {
    const { prefix, gte, lt, reverse } = range;
    if (lt !== undefined && lt.at(-1) !== 0) throw new Error("an end that is left out must end with a zero");
    let left = range.limit;
    let after: Uint8Array | undefined;
    while (left > 0) {
      const { records, truncated } = await this.api.json<Page>("records", {
        query: {
          prefix: base64Of(prefix),
          start: after === undefined ? gte && base64Of(gte) : undefined,
          after: after && base64Of(after),
          end: lt && base64Of(lt.subarray(0, -1)),
          keyEncoding: "base64",
          keysOnly: "true",
          reverse: reverse === true ? "true" : undefined,
          limit: Math.min(left, PAGE_COUNT),
        },
      });
      for (const { key, keyEncoding } of records) {
        after = bytesOfMember(key, keyEncoding);
        yield after;
      }
      left -= records.length;
      // From the end it is one page that is asked for.
      if (!truncated || records.length === 0 || reverse === true) return;
    }
  }

  private async countTo(
    prefix: Uint8Array,
    start: Uint8Array | undefined,
    end: Uint8Array | undefined,
  ): Promise<number> {
    const { count } = await this.api.json<{ count: number }>("records/count", {
      query: {
        prefix: base64Of(prefix),
        start: start && base64Of(start),
        end: end && base64Of(end),
        keyEncoding: "base64",
      },
    });
    return count;
  }
}
