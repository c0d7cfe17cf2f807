/**
 * `connect` on runtimes without pages. It is there so that what is written for a page can also be imported where a server
 * renders that page, and so that types are the same under every condition of `exports`.
 */
import { CairnError } from "../store/error.ts";
import type { connect as connectOfPage } from "./browser.ts";

/** Rejects with `UNSUPPORTED`: only a page of a browser connects. */
export const connect: typeof connectOfPage = async () => {
  throw new CairnError(
    "UNSUPPORTED",
    "connect",
    "connect: this runtime has no pages. Use open; connect is for a page of a browser.",
  );
};
