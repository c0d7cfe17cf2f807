/** What a run that goes wrong ends with. */

/** A guarantee that the store did not keep. */
export class Violation extends Error {
  override readonly name = "Violation";
  /** Which check it comes from, in a build that names them (test/planted/checks.ts). */
  check?: string;

  /** One that says which check it comes from. */
  static of(check: string, message: string, options?: ErrorOptions): Violation {
    const violation = new Violation(message, options);
    violation.check = check;
    return violation;
  }
}

/** The check that found what a run failed with; what else it is, when that was no check of the oracle. */
export function checkOf(error: unknown): string | undefined {
  if (!(error instanceof Violation)) return error instanceof Error ? `no check: ${error.name}` : `no check: ${error}`;
  const { cause } = error;
  return cause instanceof Violation ? checkOf(cause) : error.check;
}
