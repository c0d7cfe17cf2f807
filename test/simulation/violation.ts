/** What a run that goes wrong ends with. */

/** A guarantee that the store did not keep. */
export class Violation extends Error {
  override readonly name = "Violation";
}
