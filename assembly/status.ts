/**
 * What an export answers. Zero and above is a result; below zero is one of these. The TypeScript store
 * turns each into the `CairnError` code of the same name, so the numbers are part of the boundary.
 */
export namespace Status {
  export const OK: i32 = 0;
  export const NOT_A_STORE: i32 = -1;
  export const UNSUPPORTED_FORMAT: i32 = -2;
  export const ENGINE_MISMATCH: i32 = -3;
  export const CORRUPT: i32 = -4;
  export const DEVICE_READ: i32 = -5;
  export const DEVICE_WRITE: i32 = -6;
  export const DEVICE_SHRUNK: i32 = -7;
  export const NO_SPACE: i32 = -8;
  export const OUT_OF_MEMORY: i32 = -9;
  export const KEY_SIZE: i32 = -10;
  export const VALUE_SIZE: i32 = -11;
  export const BATCH_SIZE: i32 = -12;
  export const FENCED: i32 = -13;
  export const POISONED: i32 = -14;
  export const REENTRANT: i32 = -15;
  export const INVALID_ARGUMENT: i32 = -16;
  export const READ_ONLY: i32 = -17;
  export const SNAPSHOT_EXPIRED: i32 = -18;
  export const STALE_TIMESTAMP: i32 = -19;
  export const OUT_OF_RANGE: i32 = -20;
  export const NOT_A_NUMBER: i32 = -21;
  export const VERSION_COMPACTED: i32 = -22;
  /** Never leaves the engine: the mount is tried again with an older checkpoint, or with none. */
  export const CHECKPOINT_DAMAGED: i32 = -99;
}
