/** Why something failed, in words for a person. */
import { CairnError } from "../../hosts/browser.ts";

/** What an error says, with its code. */
export function reasonOf(error: unknown): string {
  if (error instanceof CairnError) return `${error.message} (${error.code})`;
  return error instanceof Error ? error.message : String(error);
}
