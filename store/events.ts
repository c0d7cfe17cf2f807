/** Events of a store for whoever did not open it. */
import type { StoreEvent } from "./options.ts";

/** Calls `listener` with each event of a store from now on, beside its `onEvent`. What is returned ends that. What it throws is ignored. */
export function listenToStore(store: object, listener: (event: StoreEvent) => void): () => void {
  const { session } = store as { session?: { listeners?: Set<(event: StoreEvent) => void> } };
  session?.listeners?.add(listener);
  return () => session?.listeners?.delete(listener);
}
