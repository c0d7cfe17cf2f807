/** What no image may make a store do. */
import { CairnError, type CairnErrorCode } from "../../store/error.ts";

/** See above. */
export class Finding extends Error {
  override readonly name = "Finding";
}

/** An error of the API with one of some codes, and nothing but such errors beneath it; anything else is a finding. */
export function typed(error: unknown, where: string, codes: readonly CairnErrorCode[]): CairnError {
  if (error instanceof Finding) throw error;
  if (!(error instanceof CairnError)) throw new Finding(`${where}: untyped: ${told(error)}`);
  if (!codes.includes(error.code)) throw new Finding(`${where}: ${error.code} is no answer here: ${told(error)}`);
  let cause: unknown = error.cause;
  for (let depth = 0; cause !== undefined && depth < 10; depth++) {
    if (!(cause instanceof CairnError)) throw new Finding(`${where}: ${error.code} because of ${told(cause)}`);
    cause = cause.cause;
  }
  return error;
}

function told(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `, caused by ${told(error.cause)}`;
  return `${error.stack ?? error}${cause}`;
}
