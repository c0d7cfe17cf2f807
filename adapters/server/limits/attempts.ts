/** Credentials that do not count: noted for the address that has shown them, alike for every protocol. */
import type { LimitKeeper } from "../context.ts";
import { ServerFailure } from "../failure.ts";

/** What is kept of attempts. */
export type AttemptKeeper = Pick<LimitKeeper, "authenticationDelay" | "authenticationFailed">;

/**
 * Counts an attempt against `address`: `failure`, or 429 in its place for an address that has made many. Called when a credential was looked
 * at and does not count: whoever shows one that does is not held up by others of the same address.
 */
export function failedAttempt(limits: AttemptKeeper, address: string, failure: ServerFailure): ServerFailure {
  const delay = limits.authenticationDelay(address);
  limits.authenticationFailed(address);
  return delay > 0 ? new ServerFailure(429, "Too many attempts with keys that do not count.", delay) : failure;
}
