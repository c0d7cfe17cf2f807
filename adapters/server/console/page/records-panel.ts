/** The records of the tenant. */
import { input } from "../../../page/elements.ts";
import { reasonOf } from "../../../page/reason.ts";
import { type RecordList, startRecordList } from "../../../page/record-list.ts";
import { ApiError } from "./api.ts";
import { RemoteKeys } from "./keys.ts";
import { RemoteRecordForm } from "./record-form.ts";
import type { Session } from "./session.ts";

/** How often the panel looks whether keys came or went. Counting many keys takes the server a while: then less often. */
const LOOK_MS = 2_000;
const LOOK_SHARE = 50;

/** Sets the panel up. Gives its list. */
export function startRecords(session: Session): RecordList {
  let keys: RemoteKeys | undefined;
  const list = startRecordList(
    {
      keys: () => keys,
      isCurrent: async ({ prefix, count }) => (await keys?.count({ prefix })) === count,
      reasonOf: (error) =>
        error instanceof ApiError && error.status === 403
          ? "This API key may not list these keys. Type a prefix that it may."
          : reasonOf(error),
      // What another search has found is no answer to one that is refused.
      keepsList: false,
      searchMs: 120,
    },
    new RemoteRecordForm(session),
  );

  session.onChange(() => {
    keys = session.api && new RemoteKeys(session.api);
    input("prefix").value = "";
    input("prefix-hex").checked = false;
    list.restart();
  });

  const lookAgain = (afterMs: number): void => {
    setTimeout(() => {
      const startMs = performance.now();
      void list.look().finally(() => lookAgain(Math.max(LOOK_MS, LOOK_SHARE * (performance.now() - startMs))));
    }, afterMs);
  };
  lookAgain(LOOK_MS);
  return list;
}
