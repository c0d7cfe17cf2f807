/** Snapshots of Level over snapshots of a store. */
import { AbstractSnapshot } from "abstract-level";
import type { Range, Store } from "cairn-kv";
import type { LevelData } from "./keys.ts";

/** A range in the store's own keys. */
export type LevelRange = Range<LevelData>;

/** A consistent view of a store. */
export type LevelView = ReturnType<Store<LevelData, LevelData>["snapshot"]>;

/** What the constructor of Level's class takes. */
interface SnapshotOptions {
  owner: object;
}

// Its types leave out the constructor.
const Base = AbstractSnapshot as unknown as new (options: SnapshotOptions) => AbstractSnapshot;

/** `db.snapshot()`: costs memory only in proportion to what is written while it is open. */
export class CairnSnapshot extends Base {
  /** What it sees. */
  readonly view: LevelView;

  constructor(view: LevelView, options: SnapshotOptions) {
    super(options);
    this.view = view;
  }

  async _close(): Promise<void> {
    this.view.close();
  }
}
