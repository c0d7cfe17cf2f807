/** How a command fails: its exit status, and the words for people on standard error. */
import { CairnError } from "../../store/error.ts";

/** Exit statuses. Scripts test them. */
export const EXIT_OK = 0;
export const EXIT_FAILED = 1;
export const EXIT_BAD_USE = 2;
export const EXIT_NOT_FOUND = 3;

/** A failure whose message says all that a user needs. */
export class CommandFailure extends Error {
  override readonly name = "CommandFailure";
  readonly status: number;

  constructor(message: string, status: number = EXIT_FAILED) {
    super(message);
    this.status = status;
  }
}

/** What to print for `error`. Only an error that nobody foresaw brings its stack. */
export function messageOf(error: unknown): string {
  if (error instanceof CairnError) return `${error.message} (${error.code})`;
  if (error instanceof CommandFailure) return error.message;
  if (!(error instanceof Error)) return String(error);
  if ("syscall" in error) return error.message;
  return error.stack ?? error.message;
}

/** The exit status that `error` calls for. */
export function statusOf(error: unknown): number {
  return error instanceof CommandFailure ? error.status : EXIT_FAILED;
}
