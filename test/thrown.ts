/** What a call throws or rejects with. */
import { CairnError, type CairnErrorCode } from "../store/error.ts";

/** The `CairnError` that `body` throws or rejects with. */
export async function errorOf(body: () => unknown): Promise<CairnError> {
  try {
    await body();
  } catch (error) {
    if (error instanceof CairnError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** The code of the `CairnError` that `body` throws or rejects with. */
export async function codeOf(body: () => unknown): Promise<CairnErrorCode> {
  return (await errorOf(body)).code;
}
