/** Why something failed, in words for a person. */
import { CairnError } from "../../store/error.ts";

/** A refusal that was to be expected: its message says all there is to say. */
export class Refusal extends Error {}

/** What an error says, with its code. */
export function reasonOf(error: unknown): string {
  if (error instanceof CairnError) return `${error.message} (${error.code})`;
  return error instanceof Error ? error.message : String(error);
}

/** Whether an error is none of the page's own making. */
export function isExpected(error: unknown): boolean {
  return error instanceof CairnError || error instanceof DOMException || error instanceof Refusal;
}
