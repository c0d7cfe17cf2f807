/** What a run that goes wrong ends with. */

/** The store did not do what the table of faults requires. */
export class Violation extends Error {
  override readonly name = "Violation";
}
