/** Storage of automerge-repo in a Cairn store: `new Repo({ storage: await CairnStorageAdapter.open("notes.cairn") })`. */
import type { Chunk, StorageAdapterInterface, StorageKey } from "@automerge/automerge-repo";
import { open, type Store, type Tuple } from "cairn-kv";

/**
 * Chunks of documents under tuples, so that the chunks of one document lie together, and a range of them is one walk. A
 * saved chunk is on stable storage when its promise resolves; those that are saved at once share a sync.
 */
export class CairnStorageAdapter implements StorageAdapterInterface {
  private readonly store: Store<Tuple, Uint8Array>;

  private constructor(store: Store<Tuple, Uint8Array>) {
    this.store = store;
  }

  /** Opens the store of a path. Rejects as `open` does, with `LOCKED` when another process has it. */
  static async open(path: string): Promise<CairnStorageAdapter> {
    return new CairnStorageAdapter(await open(path, { keyEncoding: "tuple", valueEncoding: "binary" }));
  }

  load(key: StorageKey): Promise<Uint8Array | undefined> {
    return this.store.getAsync(key);
  }

  async save(key: StorageKey, data: Uint8Array): Promise<void> {
    await this.store.put(key, data);
  }

  async remove(key: StorageKey): Promise<void> {
    await this.store.del(key);
  }

  /** The chunks in the order in which they were saved. */
  async loadRange(prefix: StorageKey): Promise<Chunk[]> {
    const { store } = this;
    const chunks: (Chunk & { version: number })[] = [];
    for await (const [key, data] of store.entries({ prefix })) {
      chunks.push({ key: key as StorageKey, data, version: store.getEntry(key)?.version ?? 0 });
    }
    return chunks.sort((a, b) => a.version - b.version).map(({ key, data }) => ({ key, data }));
  }

  async removeRange(prefix: StorageKey): Promise<void> {
    this.store.clear({ prefix });
    await this.store.flush();
  }

  /** Closes the store. Shut the repo down first. */
  close(): Promise<void> {
    return this.store.close();
  }
}
