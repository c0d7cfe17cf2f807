/** The feed of a store's tenants. */
import type { Store } from "../../../store/store.ts";
import type { Tenants } from "../tenants.ts";
import { Feed, type WatchedStore } from "./feed.ts";

export { Feed, type FeedSource, type Subscriber, type WatchedStore } from "./feed.ts";
export type { Notice } from "./notice.ts";

const BYTES = { keyEncoding: "binary", valueEncoding: "binary" } as const;

/** What is told of the changes in a store. `namespaceOf`: as `Tenants` takes it; "": the store's own keys. */
export function feedOf(
  store: Store<unknown, unknown>,
  namespaceOf: (tenant: string) => string,
  tenants: Pick<Tenants, "patched">,
): Feed {
  return new Feed({
    bytesOf(tenant): WatchedStore {
      const namespace = namespaceOf(tenant);
      const records = namespace === "" ? store.withEncodings(BYTES) : store.sub(namespace, BYTES);
      return records;
    },
    patched: (tenant, version, key) => tenants.patched(tenant, version, key),
  });
}
