/** The one error class of the API. Codes are stable: programs compare them, people read the message. */

/** Every code that a `CairnError` can have. */
export const CAIRN_ERROR_CODES = [
  "LOCKED",
  "FENCED",
  "CLOSED",
  "READ_ONLY",
  "SNAPSHOT_EXPIRED",
  "POISONED",
  "NOT_A_STORE",
  "UNSUPPORTED_FORMAT",
  "ENGINE_MISMATCH",
  "WRONG_KEY",
  "CORRUPT",
  "DEVICE_READ",
  "DEVICE_WRITE",
  "DEVICE_SHRUNK",
  "NO_SPACE",
  "OUT_OF_MEMORY",
  "KEY_SIZE",
  "VALUE_SIZE",
  "BATCH_SIZE",
  "OUT_OF_RANGE",
  "NOT_A_NUMBER",
  "CONFLICT",
  "STALE_TIMESTAMP",
  "VERSION_COMPACTED",
  "UNSUPPORTED",
  "REENTRANT",
  "INVALID_ARGUMENT",
  "FORBIDDEN",
  "UNREACHABLE",
] as const;

/** The code of a `CairnError`. */
export type CairnErrorCode = (typeof CAIRN_ERROR_CODES)[number];

/**
 * What every call of the API throws or rejects with.
 *
 * `operation` is the name of the call that failed (`"open"`, `"set"`, `"read"`). `message` says what happened, why, and
 * what to do. `cause` is the error of the runtime or the device beneath, where there is one.
 */
export class CairnError extends Error {
  /** `"CairnError"`. */
  override readonly name = "CairnError";
  /** What happened, for programs to compare. It never changes its meaning. */
  readonly code: CairnErrorCode;
  /** The call that failed. */
  readonly operation: string;

  /** For devices of a program's own, which fail as the store's do. */
  constructor(code: CairnErrorCode, operation: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.operation = operation;
  }
}
