/** What the server refuses, in terms of HTTP: every protocol makes its own answer of it. */
import { CairnError } from "../../store/error.ts";

/** A refusal: what happened, why, and what to do, for whoever asked. Never holds anything that they may not know. */
export class ServerFailure extends Error {
  /** A status of HTTP: 400, 401, 403, 404, 409, 412, 413, 429, 500, 503, 507. */
  readonly status: number;
  /** Seconds after which to try again, for 429 and 503. */
  readonly retryAfter: number | undefined;

  /** A refusal with a status of HTTP, and what to tell. */
  constructor(status: number, message: string, retryAfter?: number, options?: ErrorOptions) {
    super(message, options);
    this.name = "ServerFailure";
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const OF_CODE: Partial<Record<CairnError["code"], number>> = {
  KEY_SIZE: 400,
  VALUE_SIZE: 413,
  BATCH_SIZE: 413,
  NOT_A_NUMBER: 400,
  OUT_OF_RANGE: 400,
  INVALID_ARGUMENT: 400,
  STALE_TIMESTAMP: 409,
  CONFLICT: 409,
  VERSION_COMPACTED: 410,
  SNAPSHOT_EXPIRED: 410,
  READ_ONLY: 403,
  FORBIDDEN: 403,
  NO_SPACE: 507,
  OUT_OF_MEMORY: 507,
  CLOSED: 503,
  FENCED: 503,
  POISONED: 503,
};

/** Any error as a refusal. One that is no `CairnError` of a caller's making is 500, and says nothing of the inside. */
export function failureOf(error: unknown): ServerFailure {
  if (error instanceof ServerFailure) return error;
  if (!(error instanceof CairnError)) return new ServerFailure(500, "Server error.", undefined, { cause: error });
  const status = OF_CODE[error.code] ?? 500;
  const message = status < 500 || status === 507 ? error.message : "The store cannot answer at present.";
  return new ServerFailure(status, message, status === 503 ? 1 : undefined, { cause: error });
}
